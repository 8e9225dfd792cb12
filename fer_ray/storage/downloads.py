"""Download of published model files into a cache that all processes of a node share."""

import contextlib
import errno
import fcntl
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError, error_text
from fer_ray.storage.files import write_bytes
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.user_folders import cache_path

TIMEOUT_S = 30  # the longest time without receiving a byte
RETRIES = 2  # after one and after two more seconds
CHUNK_BYTES = 1_048_576
OFFLINE = "FER_RAY_OFFLINE"  # environment variable: forbids downloads


class UnreachableError(UserError):
    """A published file cannot be downloaded."""


@dataclass(frozen=True)
class PublishedFile:
    """A file on a server, and where it is stored on this node.

    Attributes:
        name: What it is, for messages, such as "the ImageNet weights of vgg16".
        url: Where it is published.
        known_hash: `md5:HEX` or `sha256:HEX`.
        destination: Its path in the cache.
        variable: Environment variable that sets the folder of the cache.
        option: Option of the command line that takes another file instead.
    """

    name: str
    url: str
    known_hash: str
    destination: Path
    variable: str
    option: str


def is_offline() -> bool:
    """Whether `FER_RAY_OFFLINE` forbids downloads."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def download(file: PublishedFile) -> Path:
    """Download a file unless its destination already has the content.

    One process of a node downloads while the others wait for its lock. The file appears under its
    name only if its content has the known hash. A destination that already has that content is not
    written to: it may be read-only.

    Returns:
        The destination.

    Raises:
        UnreachableError: The server cannot be reached, or sends another file.
        UserError: The destination cannot be written.
    """
    if not has_hash(file.destination, file.known_hash):
        try:
            _download_once(file)
        except OSError as problem:
            raise UserError(
                f"Cannot store {file.name} in {file.destination.parent}: {error_text(problem)}. "
                f"Set {file.variable} to a writable folder, or pass {file.option} FILE."
            ) from None
    return file.destination


def _download_once(file: PublishedFile) -> None:
    """Download the file, or wait for another process that does."""
    destination = file.destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    with destination.with_name(f".{destination.name}.lock").open("w") as lock:
        with contextlib.suppress(OSError):  # a disk without file locks; the hash is verified anyway
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not has_hash(destination, file.known_hash):
            if is_offline():
                raise _unreachable(file, f"{OFFLINE} forbids it")
            _fetch(file)


def _fetch(file: PublishedFile) -> None:
    import pooch
    import requests

    destination = file.destination
    pooch.get_logger().setLevel("ERROR")
    source = pooch.create(
        path=destination.parent,
        base_url="",
        registry={destination.name: file.known_hash},
        urls={destination.name: file.url},
        retry_if_failed=RETRIES,
    )
    partial = destination.with_name(f".{destination.name}.part")

    def resume(address: str, output: str, _: Any) -> None:
        _download_rest(address, partial)
        partial.replace(output)

    try:
        source.fetch(destination.name, downloader=resume)
    except requests.ConnectionError as problem:  # its text is long and names objects in memory
        reason = str(problem).rpartition(": ")[2].rstrip("\"')")
        raise _unreachable(file, reason) from None
    except requests.exceptions.ChunkedEncodingError:
        reason = "the connection was interrupted; run the command again to resume"
        raise _unreachable(file, reason) from None
    except requests.RequestException as problem:
        raise _unreachable(file, str(problem)) from None
    except ValueError:
        reason = "the server sends a different file"
        raise _unreachable(file, reason) from None
    destination.chmod(0o644)  # pooch's temporary files are private


def _download_rest(url: str, partial: Path) -> None:
    """Download what `partial` does not have yet; servers without byte ranges send all of it."""
    import requests

    done = partial.stat().st_size if partial.is_file() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # complete; the hash decides
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        with partial.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)


def _unreachable(file: PublishedFile, reason: str) -> UnreachableError:
    return UnreachableError(
        f"Cannot download {file.name} ({reason}). Download\n  {file.url}\non a machine that can "
        f"reach it. Copy it to {file.destination}, or pass its path with {file.option} FILE."
    )


def cache_file(*parts: str) -> Path:
    """The path of a file in fer_ray's folder of the user's cache."""
    return cache_path("XDG_CACHE_HOME", ".cache", "fer_ray", *parts)


def local_copy(file: Path) -> Path:
    """A file on this node with the content of `file`, downloaded once per version of an object.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    if not isinstance(file, ObjectPath):
        if not file.is_file():
            raise FileNotFoundError(errno.ENOENT, "No such file", str(file))
        return file.resolve()
    info = file.stat()
    version = f"{file} {info.st_size} {info.st_mtime_ns}"
    copy = cache_file(hashlib.sha256(version.encode()).hexdigest()[:32], file.name)
    if not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file.read_bytes(), copy)
    return copy


def has_hash(file: Path, known_hash: str) -> bool:
    """Return whether a file exists and its content has this hash (`md5:HEX` or `sha256:HEX`)."""
    algorithm, _, expected = known_hash.partition(":")
    return file.is_file() and file_digest(file, algorithm) == expected


def file_digest(file: Path, algorithm: str) -> str:
    """Hex digest of a file's content, computed once per process while the file is unchanged."""
    stat = file.stat()
    return _digest(file, algorithm, stat.st_size, stat.st_mtime_ns)


@cache
def _digest(file: Path, algorithm: str, size: int, modified_ns: int) -> str:
    """The digest; size and time of modification are part of the cache's key."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, algorithm).hexdigest()
