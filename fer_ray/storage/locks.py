"""The lock of a run folder, and messages about a folder that can no longer be used."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fer_ray.errors import UserError
from fer_ray.storage.run_folder import LOCK

_PROBE_BYTES = 4_194_304  # about the size of a block or a figure


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Create `folder` and lock it, so that only one job at a time writes into it.

    The operating system releases the lock when the process ends, even if it is killed.

    Raises:
        UserError: The folder cannot be written, another job has the lock, or the job fails and
            the disk is full or a table is damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise UserError(
            f"Cannot write to {folder}: {error.strerror}. Pass another folder."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"Another fer-ray job is writing into {folder}. Wait for it to finish, or pass "
                "another --out."
            ) from None
        try:
            yield
        except UserError:
            raise
        except Exception:  # libraries report a full disk or a truncated file in many ways
            _require_writable(folder)
            _require_readable(folder)
            raise


def _require_writable(folder: Path) -> None:
    """Write a probe file into `folder`.

    Raises:
        UserError: It cannot be written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise UserError(
            f"Can no longer write to {folder}: {error.strerror}. Finished work is stored: fix "
            "the problem and rerun the same command to resume."
        ) from None


def _require_readable(folder: Path) -> None:
    """Read the footer of each table below `folder`.

    Raises:
        UserError: Some are damaged.
    """
    damaged = []
    for file in sorted(folder.rglob("*.parquet")):
        try:
            pq.read_metadata(file)
        except (OSError, pa.ArrowException):
            damaged.append(str(file))
    if damaged:
        raise UserError(
            f"Damaged files: {', '.join(damaged)}. Remove them and rerun the same command to "
            "recompute them."
        ) from None
