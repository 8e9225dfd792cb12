"""Paths and URIs of sources and stores: resolving, checking, and removing credentials."""

import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit, urlunsplit

import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow import fs

from fer_ray.errors import StoreLostError, UserError, error_text
from fer_ray.storage.paths import (
    require_no_credentials,
    to_path,
    without_credentials,
    without_dots,
)

AZURE_SCHEMES = ("az", "abfs", "abfss")
# Schemes that pyarrow, which lists and reads, and Delta Lake have in common.
STORE_SCHEMES = ("file", "s3", "gs", *AZURE_SCHEMES)
AZURITE = "http://127.0.0.1:10000"  # default address of Azure's emulator
GCS_RETRY_S = 60  # by default, Google's client retries for 15 minutes without a network
URI_ERRORS = (ValueError, OSError, ImportError, pa.ArrowException)  # raised by pyarrow for a URI
# With these in a path, delta-rs panics or writes to a folder with another name.
_UNSUPPORTED = re.compile(r"[\[\]\\^|\x00-\x1f]|%[0-9A-Fa-f]{2}")
ATTEMPTS = 4  # per file, if the storage answers with an error
FIRST_PAUSE_S = 0.5  # doubled after each attempt


def resolve_filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """Resolve a path or URI to its file system and the path in it.

    Raises:
        ValueError: The scheme is unknown, or the URI is malformed.
        ImportError: pyarrow needs a package for this scheme that is not installed.
        OSError: The storage does not answer.
    """
    if "://" not in uri:
        return fs.LocalFileSystem(), str(without_dots(to_path(uri)))
    parts = urlsplit(uri)
    if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in parts.query:
        query = f"{parts.query}&" if parts.query else ""
        parts = parts._replace(query=f"{query}retry_limit_seconds={GCS_RETRY_S}")
        uri = urlunsplit(parts)
    if parts.scheme in AZURE_SCHEMES:
        return _azure(parts)
    filesystem, root = fs.FileSystem.from_uri(uri)
    return filesystem, root.rstrip("/")


def _azure(parts: SplitResult) -> tuple[fs.FileSystem, str]:
    """The file system of an Azure URI, with the environment variables that Delta Lake also uses.

    pyarrow itself does not read them, and does not know `az://`.
    """
    container, _, host = parts.netloc.partition("@")
    get = os.environ.get
    account = host.partition(".")[0] or get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        raise ValueError("set AZURE_STORAGE_ACCOUNT_NAME to the name of the storage account")
    options: dict[str, str] = {}
    if get("AZURE_STORAGE_USE_EMULATOR", "").lower() in ("1", "true", "yes"):
        emulator = urlsplit(get("AZURITE_BLOB_STORAGE_URL", AZURITE))
        for service in ("blob", "dfs"):
            options[f"{service}_storage_authority"] = emulator.netloc
            options[f"{service}_storage_scheme"] = emulator.scheme
    filesystem = fs.AzureFileSystem(
        account_name=account,
        account_key=get("AZURE_STORAGE_ACCOUNT_KEY"),
        sas_token=get("AZURE_STORAGE_SAS_KEY"),
        **options,
    )
    return filesystem, f"{container}{parts.path}".rstrip("/")


def attempts() -> Iterator[int]:
    """Count attempts, with a growing pause of random length before each but the first."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * (0.5 + random.random()))
        yield attempt


def require_store_uri(uri: str) -> None:
    """Check that a store can be created at a path or URI.

    Raises:
        UserError: The scheme is unknown, the URI contains credentials, or Delta Lake cannot write
            to such a path.
    """
    scheme, separator, _ = uri.partition("://")
    name = f"--store {without_credentials(uri)}"
    if separator and scheme not in STORE_SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in STORE_SCHEMES)
        raise UserError(f"{name}: use a folder, or a URI with one of {schemes}.")
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise UserError(f"{name}: {error_text(error)}.") from None
    require_no_credentials(uri, "--store")
    path = parts.path if separator and scheme != "file" else resolve_filesystem(uri)[1]
    if unsupported := _UNSUPPORTED.search(path):
        raise UserError(
            f"{name}: Delta Lake cannot write to a path that contains {unsupported[0]!r}. Choose "
            "another path."
        )


@contextmanager
def store_lost_on_error(uri: str) -> Iterator[None]:
    """Raise errors of a store's storage as `StoreLostError`; conflicts and missing tables pass.

    Raises:
        StoreLostError: The store cannot be read or written.
    """
    try:
        yield
    except (CommitFailedError, TableNotFoundError):
        raise
    except BaseException as error:
        panic = type(error).__name__ == "PanicException"  # of delta-rs: not an Exception
        if not panic and not isinstance(error, (OSError, DeltaError, pa.ArrowException)):
            raise
        raise StoreLostError(
            f"The store {uri} cannot be read or written: {error_text(error)}\nFix the "
            "problem and rerun the same command. Committed results are not lost."
        ) from None
