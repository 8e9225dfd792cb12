"""Holding a folder while a job writes into it, and what is told where that fails."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fer_ray.errors import UserError

_PROBE_BYTES = 4_194_304  # about what a block or a figure takes


@contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Make `folder` and hold it, so that two jobs never write into it at once.

    The lock goes with the process, also when it is killed.

    Raises:
        UserError: The folder cannot be written, or can no more when the job fails, or another job
            holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as problem:
        raise UserError(f"Cannot write into {folder}: {problem.strerror}.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"Another fer-ray job is writing into {folder}. Wait for it, or give another --out."
            ) from None
        try:
            yield
        except UserError:
            raise
        except Exception:  # whatever a library made of a full disk, or of half a file
            _require_writable(folder)
            _require_readable(folder)
            raise


def _require_writable(folder: Path) -> None:
    """Write a little into `folder`.

    Raises:
        UserError: It cannot be done, and why.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as problem:
        raise UserError(
            f"{folder} cannot be written any more: {problem.strerror}. What was finished is kept; "
            "mend that and run the same again."
        ) from None


def _require_readable(folder: Path) -> None:
    """Look at the footer of each table below `folder`.

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
            f"Damaged: {', '.join(damaged)}. Remove what is damaged and run the same again; it is "
            "made anew."
        ) from None
