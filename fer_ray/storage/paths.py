"""Paths that users pass: on a disk, or URIs in an object store."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from fer_ray.errors import UserError
from fer_ray.storage.objects.object_listing import Listing, current_listing, listing_in_use
from fer_ray.storage.objects.object_path import ObjectPath

OBJECT_SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
_CREDENTIAL = re.compile(r"(key|secret|token|password|sig|signature)(_id)?=", re.IGNORECASE)


def to_path(text: str | Path) -> Path:
    """The path that a user passed, as all jobs use it.

    Args:
        text: A path, `file:///…`, or a URI in an object store: `s3://bucket/…`, `gs://bucket/…`,
            `az://container/…`, `abfss://container@account.dfs.core.windows.net/…`.

    Returns:
        An absolute path with `~` expanded, or an `ObjectPath`.

    Raises:
        UserError: The scheme is unknown, or the URI contains credentials or has no bucket.
    """
    if isinstance(text, Path):
        return text.expanduser().absolute()
    scheme, separator, _ = text.partition("://")
    if not separator:
        return Path(text).expanduser().absolute()
    if scheme not in ("file", *OBJECT_SCHEMES):
        schemes = ", ".join(f"{name}://" for name in ("file", *OBJECT_SCHEMES))
        raise UserError(f"{without_credentials(text)}: use a path, or a URI with one of {schemes}.")
    if scheme == "file":
        return _file_uri_path(text)
    path = ObjectPath(text)
    if len(path.parts) < 2 or ".." in path.parts:
        raise UserError(f"{text}: write it as {scheme}://BUCKET/PATH, without `..`.")
    require_no_credentials(text)
    return path


def is_object(path: Path) -> bool:
    """Whether a path is in an object store, which all nodes of a cluster reach."""
    return isinstance(path, ObjectPath)


def local_paths(*paths: Path) -> list[Path]:
    """The paths that are on a disk, which nodes of a cluster must share."""
    return [path for path in paths if not is_object(path)]


def without_dots(path: Path) -> Path:
    """The path without `..`, through the same links; without links if it leads elsewhere then."""
    plain = Path(os.path.normpath(path)) if ".." in path.parts else path
    return plain if plain == path or plain.resolve() == path.resolve() else path.resolve()


def require_output_outside(target: Path, *inputs: Path) -> None:
    """Check that an output is not inside a folder that is read.

    A later run would treat files of the output as images, and a copy of the source would contain
    them.

    Args:
        target: Folder to write to.
        inputs: What is read. Files, such as a list of images, contain no output.

    Raises:
        UserError: `target` is one of these folders or inside one, directly or through links.
    """
    for source in inputs:
        if target.resolve().is_relative_to(source.resolve()) and not source.is_file():
            raise UserError(
                f"{target} is inside the source {source}, so the next run would treat the files "
                "written to it as images. Choose a folder outside the source."
            )


@contextmanager
def listed_once(root: Path) -> Iterator[None]:
    """Serve queries about files below `root` from one recursive listing inside the block.

    A request for each of thousands of objects would take minutes; a listing takes one for each
    thousand. Has no effect on a folder of a disk.
    """
    if not isinstance(root, ObjectPath) or current_listing(root.bucket, root.key):
        yield
        return
    with listing_in_use(Listing(root.bucket, root.key, root.list_objects())):
        yield


def _file_uri_path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise UserError(f"{uri}: it names another machine. Write it as file:///PATH.")
    return Path(unquote(parts.path)).absolute()


def require_no_credentials(uri: str, option: str = "") -> None:
    """Check that a URI contains no keys or passwords, which records and messages would show.

    Args:
        uri: The URI.
        option: Option that it was passed with, for the message.

    Raises:
        UserError: The URI contains credentials.
    """
    shown = without_credentials(uri)
    if shown != uri:
        raise UserError(
            f"{option} {shown}: credentials in a URI are not accepted. Set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or the variables of your storage provider.".strip()
        )


def without_credentials(uri: str) -> str:
    """Remove keys and passwords: `s3://KEY:SECRET@bucket`, `abfs://c:KEY@…`, `?token=`."""
    if "://" not in uri:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:  # a key could be anywhere in it
        return f"{uri.partition('://')[0]}://…"
    user, at, host = parts.netloc.rpartition("@")
    user = "" if parts.scheme.startswith("s3") else user.partition(":")[0]
    query = "&".join(part for part in parts.query.split("&") if not _CREDENTIAL.search(part))
    return urlunsplit(parts._replace(netloc=f"{user}{at if user else ''}{host}", query=query))
