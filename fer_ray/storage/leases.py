"""Leases: the lock of a folder in an object store, or on a disk without file locks.

A lease is a small file that its holder renews. A process that has seen no renewal for `LEASE_S`
takes it over, so the clocks of two machines are never compared. Only one of several such processes
succeeds, because each replaces exactly the content that it has seen.
"""

import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fer_ray.errors import StoreLostError, UserError
from fer_ray.storage.objects.object_path import ObjectPath

RENEW_S = 10.0
LEASE_S = 40.0  # without a renewal, after which another process takes the lease over
POLL_S = 2.0
ATTEMPTS = 3  # attempts to write if the store does not answer
Record = dict[str, Any]

logger = logging.getLogger(__name__)


class Lease:
    """A lease on a folder.

    Args:
        file: Where it is stored.
        held: Builds the error for a lease of another process from its record.
        on_lost: Called in a thread if another process has taken the lease over.
    """

    def __init__(
        self, file: Path, held: Callable[[Record], UserError], on_lost: Callable[[], None]
    ) -> None:
        self._file: Any = _LeaseObject(file) if isinstance(file, ObjectPath) else _LeaseFile(file)
        self._held, self._on_lost = held, on_lost
        self._record = {**describe_process(), "token": uuid.uuid4().hex, "renewals": 0}
        self._version: Any = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew_repeatedly, daemon=True)

    def acquire(self) -> None:
        """Take the lease and renew it in the background.

        Raises:
            UserError: Another process has it.
        """
        try:
            self._write(self._file.create)
        except FileExistsError:
            self._take_over()
        self._thread.start()

    def release(self) -> None:
        """Stop renewing the lease, and remove it unless it is lost or the store does not answer."""
        self._stopped.set()
        self._thread.join(POLL_S)
        if self._thread.is_alive():  # waiting for the store; the lease then expires
            return
        with suppress(StoreLostError, OSError):  # the lease then expires
            if self._is_own(self._file.read()[0]):
                self._file.remove()

    def _take_over(self) -> None:
        """Take the lease of an ended process, or one that is not renewed for `LEASE_S`."""
        try:
            content, version = self._file.read()
            state = _process_state(_parse(content))
            if state == "alive":
                raise self._held(_parse(content))
            if state == "unknown":
                version = self._wait_for_expiry(content, version)
            self._write(lambda data: self._file.replace(data, version))
        except FileNotFoundError:  # it was released
            self._write(self._file.create)
        except FileExistsError:
            raise self._held(_parse(self._file.read()[0])) from None

    def _wait_for_expiry(self, content: bytes, version: Any) -> Any:
        logger.warning(
            "%s. Waiting up to %g s to see whether that job is still running.",
            self._held(_parse(content)), LEASE_S,
        )  # fmt: skip
        end = time.monotonic() + LEASE_S
        while time.monotonic() < end:
            time.sleep(POLL_S)
            current, version = self._file.read()
            if current != content:
                raise self._held(_parse(current))
        return version

    def _write(self, write: Callable[[bytes], Any]) -> None:
        """Write the record; a write without an answer may have succeeded."""
        self._record["renewals"] += 1
        data = json.dumps(self._record).encode()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._version = write(data)
                return
            except (StoreLostError, FileExistsError):
                with suppress(FileNotFoundError):
                    content, version = self._file.read()
                    if content == data:
                        self._version = version
                        return
                    raise
                if attempt == ATTEMPTS:
                    raise

    def _renew_repeatedly(self) -> None:
        while not self._stopped.wait(RENEW_S):
            try:
                self._write(lambda data: self._file.replace(data, self._version))
            except (FileExistsError, FileNotFoundError):
                self._on_lost()
                return
            except (StoreLostError, OSError) as problem:  # it may answer again before the expiry
                logger.warning("the lock could not be renewed: %s", problem)

    def _is_own(self, content: bytes) -> bool:
        return bool(_parse(content).get("token") == self._record["token"])


class _LeaseObject:
    """The file of a lease in an object store."""

    def __init__(self, path: ObjectPath) -> None:
        self.create, self.replace = path.write_new, path.replace_version
        self.read, self.remove = path.read_version, path.unlink


class _LeaseFile:
    """The file of a lease on a disk; its version is its content."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.remove = path.unlink

    def create(self, data: bytes) -> bytes:
        with self._path.open("xb") as file:
            file.write(data)
        return data

    def read(self) -> tuple[bytes, bytes]:
        content = self._path.read_bytes()
        return content, content

    def replace(self, data: bytes, version: bytes) -> bytes:
        """Replace the content if it is still `version`; only one process does so at a time."""
        mutex = self._lock()
        try:
            if self._path.read_bytes() != version:
                raise FileExistsError(f"another process has written {self._path}")
            new = self._path.with_name(f"{self._path.name}.new")
            new.write_bytes(data)
            new.replace(self._path)
        finally:
            mutex.rmdir()
        return data

    def _lock(self) -> Path:
        """Create a folder that only one process at a time can create."""
        mutex = self._path.with_name(f"{self._path.name}.swap")
        with suppress(FileNotFoundError):
            if time.time() - mutex.stat().st_mtime > LEASE_S:  # its process was killed
                mutex.rmdir()
        end = time.monotonic() + POLL_S
        while True:
            try:
                mutex.mkdir()
                return mutex
            except FileExistsError:
                if time.monotonic() > end:
                    raise
                time.sleep(POLL_S / 20)


def describe_process() -> Record:
    """This process, for people and for `Lease`: machine, process, and when it began to lock."""
    return {
        "machine": platform.node(),
        "process": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "place": _place(),
        "started": _start_time(os.getpid()),
    }


def describe_holder(record: Record) -> str:
    """The process of a record in words; empty for a record that cannot be read."""
    if not {"machine", "process", "since"} <= record.keys():
        return ""
    return f" (process {record['process']} on {record['machine']}, since {record['since']})"


def _parse(content: bytes) -> Record:
    try:
        record = json.loads(content)
    except ValueError:  # it is being written
        return {}
    return record if isinstance(record, dict) else {}


def _process_state(record: Record) -> str:
    """`alive`, `dead`, or `unknown` for a process that this one cannot see."""
    if not record.get("place") or record["place"] != _place():
        return "unknown"
    return "alive" if _start_time(record["process"]) == record["started"] else "dead"


def _place() -> str:
    """The running system and its set of process numbers; empty where that is unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_time(process: int) -> str | None:
    """When a process started, in clock ticks of this system; None if it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
