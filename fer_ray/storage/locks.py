"""The lock of a run folder, and messages about a folder that can no longer be used."""

import errno
import fcntl
import json
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from fer_ray.errors import UserError
from fer_ray.storage.damage import require_readable
from fer_ray.storage.files import read_json
from fer_ray.storage.foreign_files import require_own_folder
from fer_ray.storage.leases import Lease, describe_holder, describe_process
from fer_ray.storage.paths import is_object
from fer_ray.storage.run_folder import LEASE, LOCK

_PROBE_BYTES = 4_194_304  # about the size of a block or a figure
HELD = (errno.EWOULDBLOCK, errno.EAGAIN)  # other errors mean that the disk has no file locks

logger = logging.getLogger(__name__)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Create `folder` and lock it, so that only one job at a time writes into it.

    On a disk, the operating system releases the lock when the process ends, even if it is killed.
    In an object store, and on a disk without file locks, the lock is a lease that expires. A job
    that ends with a user error before it has written anything leaves no folder and no lock file.

    Raises:
        UserError: The folder contains files of the user, or cannot be written, another job has the
            lock, the lock was lost, or the job fails and the disk is full or a file is damaged.
    """
    require_own_folder(folder)
    created = [] if is_object(folder) else _missing(folder)
    with _removed_if_refused(created), ExitStack() as stack:
        if is_object(folder):
            stack.enter_context(_leased(folder))
        else:
            _lock_on_disk(folder, stack)
        try:
            yield
        except UserError:
            if folder / LOCK in created:  # still locked, so no other job uses the file
                (folder / LOCK).unlink(missing_ok=True)
            raise
        except Exception:  # libraries report a full disk or a truncated file in many ways
            _require_writable(folder)
            require_readable(folder)
            raise


def _lock_on_disk(folder: Path, stack: ExitStack) -> None:
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((folder / LOCK).open("a+", encoding="utf-8"))
        except OSError as error:
            raise UserError(
                f"Cannot write to {folder}: {error.strerror}. Pass another folder."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                raise _held(folder, read_json(folder / LOCK) or {}) from None
            stack.enter_context(_leased(folder))
            return
        if _is_at(folder / LOCK, lock):
            break
    lock.truncate(0)
    lock.write(json.dumps(describe_process()))
    lock.flush()


def _is_at(path: Path, file: IO[str]) -> bool:
    """Return whether an open file is at a path; a job that was refused removes its lock file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _missing(folder: Path) -> list[Path]:
    """The lock file and the folders that a lock of `folder` creates, innermost first."""
    return [path for path in (folder / LOCK, folder, *folder.parents) if not path.exists()]


@contextmanager
def _removed_if_refused(created: list[Path]) -> Iterator[None]:
    """Remove folders that a job has created for its lock if it ends with a user error.

    Folders that contain results stay.
    """
    try:
        yield
    except UserError:
        with suppress(OSError):
            for path in created:
                if path.name != LOCK:
                    path.rmdir()
        raise


@contextmanager
def _leased(folder: Path) -> Iterator[None]:
    with _interruptible(_lost_message(folder)) as interrupt:
        lease = Lease(folder / LEASE, partial(_held, folder), interrupt)
        lease.acquire()
        try:
            yield
        finally:
            lease.release()


@contextmanager
def _interruptible(message: str) -> Iterator[Callable[[], None]]:
    """Yield a function that raises a UserError in this thread, if it is the main one.

    Another thread cannot be interrupted; the message is then only logged.
    """
    thread = threading.main_thread()
    if threading.current_thread() is not thread:
        yield partial(logger.error, message)
        return

    def stop(*_: object) -> None:
        raise UserError(message)

    previous = signal.signal(signal.SIGUSR2, stop)  # SIGINT may be ignored in the background
    try:
        yield partial(signal.pthread_kill, thread.ident or 0, signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, previous)


def _lost_message(folder: Path) -> str:
    return (
        f"Another fer-ray job has taken over {folder}, because this one did not renew its lock in "
        "time. Finished work is stored. Rerun the same command when the other job has ended."
    )


def _held(folder: Path, record: dict[str, Any]) -> UserError:
    return UserError(
        f"Another fer-ray job is writing into {folder}{describe_holder(record)}. Wait for it to "
        "finish, or pass another --out."
    )


def _require_writable(folder: Path) -> None:
    """Write a probe file into `folder`; object stores report their errors themselves.

    Raises:
        UserError: The folder cannot be written.
    """
    if is_object(folder):
        return
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
