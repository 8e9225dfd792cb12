"""Paths and URIs of sources and stores: which can be used, and how they are told."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow import fs

from fer_ray.errors import StoreLostError, UserError

# Those that pyarrow, which lists and reads, and Delta Lake both know by one name.
STORES = ("file", "s3", "gs", "abfs", "abfss")
GCS_RETRY_S = 60  # Google's client tries for 15 minutes where there is no network
# delta-rs ends the process's thread, or writes to a folder of another name.
_REFUSED = re.compile(r"[\[\]\\^|\x00-\x1f]|%[0-9A-Fa-f]{2}")
_SECRET = re.compile(r"(key|secret|token|password|sig|signature)(_id)?=", re.IGNORECASE)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def opened(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or URI, and the place within it.

    Raises:
        ValueError: The scheme is unknown, or it is no URI.
        ImportError: pyarrow needs a package for this scheme that is not installed.
        OSError: It does not answer.
    """
    if "://" not in uri:
        return fs.LocalFileSystem(), str(Path(uri).resolve())
    parts = urlsplit(uri)
    if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in parts.query:
        query = f"{parts.query}&" if parts.query else ""
        parts = parts._replace(query=f"{query}retry_limit_seconds={GCS_RETRY_S}")
        uri = urlunsplit(parts)
    filesystem, root = fs.FileSystem.from_uri(uri)
    return filesystem, root.rstrip("/")


def without_secret(uri: str) -> str:
    """A URI without keys and passwords: `s3://KEY:SECRET@bucket`, `abfs://c:KEY@…`, `?token=`."""
    if "://" not in uri:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:  # where a key would be cannot be told
        return f"{uri.partition('://')[0]}://…"
    user, at, host = parts.netloc.rpartition("@")
    kept = "" if parts.scheme.startswith("s3") else user.partition(":")[0]
    query = "&".join(one for one in parts.query.split("&") if not _SECRET.search(one))
    return urlunsplit(parts._replace(netloc=f"{kept}{at if kept else ''}{host}", query=query))


def require_store(uri: str) -> None:
    """Refuse a place that no store can be made at, before any work.

    Raises:
        UserError: Of an unknown kind, or of a name that Delta Lake cannot write.
    """
    scheme, known, _ = uri.partition("://")
    if known and scheme not in STORES:
        raise UserError(
            f"--store {without_secret(uri)}: a store is a folder, or one of "
            f"{', '.join(f'{name}://' for name in STORES)}."
        )
    try:
        parts = urlsplit(uri)
    except ValueError as problem:
        raise UserError(f"--store {without_secret(uri)}: {told(problem)}.") from None
    if without_secret(uri) != uri:
        raise UserError(
            f"--store {without_secret(uri)}: keys are not taken from a URI. Set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what your store's kind asks for."
        )
    path = parts.path if known and scheme != "file" else str(opened(uri)[1])
    if found := _REFUSED.search(path):
        raise UserError(
            f"--store {without_secret(uri)}: Delta Lake cannot write to a path with "
            f"{found[0]!r} in it. Give the store another name."
        )


@contextmanager
def lost_on_error(uri: str) -> Iterator[None]:
    """Tell what fails about a store as such; conflicts and tables that are not there pass.

    Raises:
        StoreLostError: It cannot be read or written.
    """
    try:
        yield
    except (CommitFailedError, TableNotFoundError):
        raise
    except BaseException as problem:
        panic = type(problem).__name__ == "PanicException"  # of delta-rs; no Exception by its kind
        if not panic and not isinstance(problem, (OSError, DeltaError, pa.ArrowException)):
            raise
        raise StoreLostError(
            f"The store {uri} cannot be read or written: {told(problem)}\nWhat was committed is "
            "kept; mend that and run the same again."
        ) from None


def told(problem: BaseException) -> str:
    """What an error says, in one line."""
    text = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return _COLOURS.sub("", text).strip().splitlines()[0][:300]


UNUSABLE = (ValueError, OSError, ImportError, pa.ArrowException)  # what pyarrow raises of a place
