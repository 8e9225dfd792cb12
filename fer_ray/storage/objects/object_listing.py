"""One recursive listing of an object store in place of a request for each object."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ObjectEntry:
    """An object or folder of a listing, with the interface of `os.DirEntry`.

    Attributes:
        name: Its name.
        path: Its path.
        meta: Metadata of an object; None for a folder.
    """

    name: str
    path: Path
    meta: Any = None

    def is_dir(self) -> bool:
        """Whether this is a folder."""
        return self.meta is None


def without_markers(objects: Iterable[Any], prefix: str) -> list[Any]:
    """Drop the empty objects by which some programs mark folders (`folder/`).

    Args:
        objects: Metadata of objects; the client has removed trailing slashes.
        prefix: Key of the folder that was listed.
    """
    objects, folders = list(objects), {prefix}
    for meta in objects:
        folder = meta["path"].rpartition("/")[0]
        while folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return [meta for meta in objects if meta["size"] or meta["path"] not in folders]


class Listing:
    """All objects below a prefix of a bucket.

    Args:
        bucket: The bucket, such as `s3://bucket`.
        prefix: Key of the folder that was listed; empty for the bucket.
        objects: Metadata of all objects below it.
    """

    def __init__(self, bucket: str, prefix: str, objects: Iterable[Any]) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._folders: dict[str, dict[str, Any]] = {prefix: {}}
        for meta in objects:
            folder, _, name = meta["path"].rpartition("/")
            self._folder(folder)[name] = meta

    def covers(self, bucket: str, key: str) -> bool:
        """Whether a key is at or below the prefix."""
        inside = not self._prefix or f"{key}/".startswith(f"{self._prefix}/")
        return bucket == self._bucket and inside

    def entries(self, key: str) -> dict[str, Any]:
        """Metadata of the objects directly in a folder, by name; None for a folder in it."""
        return self._folders.get(key, {})

    def find(self, key: str) -> Any:
        """Metadata of an object; None if there is none."""
        folder, _, name = key.rpartition("/")
        return self.entries(folder).get(name)

    def _folder(self, key: str) -> dict[str, Any]:
        if key not in self._folders:
            self._folders[key] = {}
            parent, _, name = key.rpartition("/")
            self._folder(parent)[name] = None
        return self._folders[key]


_current: ContextVar[Listing | None] = ContextVar("listing", default=None)


def current_listing(bucket: str, key: str) -> Listing | None:
    """The listing in use, if it covers a key."""
    listing = _current.get()
    return listing if listing is not None and listing.covers(bucket, key) else None


@contextmanager
def listing_in_use(listing: Listing) -> Iterator[None]:
    """Serve queries about objects from a listing inside the block."""
    token = _current.set(listing)
    try:
        yield
    finally:
        _current.reset(token)
