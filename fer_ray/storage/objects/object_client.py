"""Clients of object stores, and their errors.

The client is `obstore`, on the Rust crate that Delta Lake also uses, so run folders and stores take
endpoint, region and credentials from the same environment variables.
"""

import errno
import io
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_ray.errors import StoreLostError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

REQUEST_S = 60  # time limit of a request; large objects are written in parts
CONNECT_S = 5
RETRIES = 40  # of a request that the store refuses or does not answer, with growing pauses
RETRY_S = 45  # time limit of a request with all its retries: less than that of an image
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5
SKEWED_CLOCK = "RequestTimeTooSkewed"  # error code of S3 for differences of over 15 minutes
MISSING_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


@cache
def open_bucket(uri: str) -> "ObjectStore":
    """The client of a bucket, such as `s3://bucket`, configured by environment variables."""
    from obstore.store import from_url

    client: ClientConfig = {
        "timeout": f"{REQUEST_S}s",
        "connect_timeout": f"{CONNECT_S}s",
        "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes"),
    }
    retries: RetryConfig = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_S),
        "backoff": {
            "init_backoff": timedelta(seconds=FIRST_PAUSE_S),
            "max_backoff": timedelta(seconds=LONGEST_PAUSE_S),
            "base": 2,
        },
    }
    return from_url(uri, client_options=client, retry_config=retries)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise errors of an object store as those that callers expect.

    Raises:
        FileNotFoundError: There is no such object.
        FileExistsError: The condition of a write is not met.
        StoreLostError: The store refuses the request, or does not answer.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except FileNotFoundError as problem:
        if any(name in str(problem) for name in MISSING_BUCKET):
            raise _lost(path, "the bucket does not exist") from None
        raise FileNotFoundError(errno.ENOENT, "No such object", str(path)) from None
    except (AlreadyExistsError, PreconditionError):
        raise FileExistsError(errno.EEXIST, "Another process has written it", str(path)) from None
    except (BaseError, ValueError) as problem:
        text = str(problem)
        missing = any(name in text for name in MISSING_BUCKET)
        raise _lost(path, "the bucket does not exist" if missing else _reason(text)) from None


def _lost(path: Path, reason: str) -> StoreLostError:
    return StoreLostError(
        f"{path} cannot be read or written: {reason}.\nFinished work is stored: fix the problem "
        "and rerun the same command to resume."
    )


def _reason(text: str) -> str:
    """The reason in a client's message, without the request and its retries."""
    if SKEWED_CLOCK in text:
        return f"the clock of host {socket.gethostname()} is wrong; synchronise it (NTP)"
    line = text.strip().splitlines()[0].split("<")[0]
    if "Error performing" in line:
        line = line.rpartition(" - ")[2]
    code = re.search("<Code>(.+?)</Code>", text)
    return line.strip().rstrip(":.")[:300] + (f" ({code[1]})" if code else "")


class ObjectReader(io.RawIOBase):
    """A seekable reader of an object, with one request for each read.

    Args:
        store: Client of the bucket.
        key: Key of the object.
        size: Its size in bytes.
        path: Its path, for messages.
    """

    def __init__(self, store: "ObjectStore", key: str, size: int, path: Path) -> None:
        self._store, self._key, self._size, self._path = store, key, size, path
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read as much as fits into a buffer, and return its size."""
        size = max(0, min(len(buffer), self._size - self._position))
        if size:
            with storage_errors(self._path):
                content = self._store.get_range(self._key, start=self._position, length=size)
            buffer[:size] = memoryview(content)
            self._position += size
        return size


def stat_of(meta: Any) -> os.stat_result:
    """Metadata of an object as those of a regular file; other fields are 0."""
    seconds = meta["last_modified"].timestamp()
    times_ns = [round(seconds * 1_000_000) * 1_000] * 3
    fields = [stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, meta["size"], *[int(seconds)] * 3]
    return os.stat_result((*fields, *[seconds] * 3, *times_ns))
