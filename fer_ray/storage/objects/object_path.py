"""Paths in object stores as `pathlib.Path`: the same code reads and writes disks and buckets."""

import errno
import fnmatch
import io
import os
from collections.abc import Collection, Generator
from pathlib import PosixPath, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from fer_ray.storage.objects.object_client import ObjectReader, open_bucket, stat_of, storage_errors
from fer_ray.storage.objects.object_listing import ObjectEntry, current_listing, without_markers

if TYPE_CHECKING:
    from obstore.store import ObjectStore

BLOCK_BYTES = 1 << 16  # least size of a ranged read
Version = dict[str, str]  # of an object: its tag or generation


class ObjectPath(PosixPath):
    """A path in an object store, such as `s3://bucket/runs/ck`.

    Pure operations (`/`, `name`, `parent`, `relative_to`, …) are those of `pathlib`. Objects are
    written atomically. A folder exists as long as it contains an object. Operations that are not
    defined here raise TypeError instead of using a local file of this name.

    Raises:
        StoreLostError: By any method that reads or writes: the store refuses or does not answer.

    Examples:
        >>> path = ObjectPath("s3://bucket/runs/ck") / "run.json"
        >>> str(path), path.parent.name
        ('s3://bucket/runs/ck/run.json', 'ck')
    """

    __slots__ = ()

    def __str__(self) -> str:
        if not self.is_absolute():
            return super().__str__()
        return f"{self.parts[0]}//{'/'.join(self.parts[1:])}"

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is not a file on this machine")

    def is_absolute(self) -> bool:
        """Whether the path starts with a scheme; the result of `relative_to` does not."""
        return bool(self.parts) and self.parts[0].endswith(":")

    def absolute(self) -> "ObjectPath":
        """The path itself."""
        return self

    def resolve(self, strict: bool = False) -> "ObjectPath":
        """The path itself: object stores have no links."""
        return self

    @property
    def key(self) -> str:
        """The path within the bucket."""
        return "/".join(self.parts[2:])

    @property
    def bucket(self) -> str:
        """The bucket, such as `s3://bucket`."""
        return "//".join(self.parts[:2])

    @property
    def store(self) -> "ObjectStore":
        """The client of the bucket."""
        return open_bucket(self.bucket)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size and modification time of an object; FileNotFoundError if there is none."""
        if (listing := current_listing(self.bucket, self.key)) is not None:
            if (meta := listing.find(self.key)) is not None:
                return stat_of(meta)
            raise FileNotFoundError(errno.ENOENT, "No such object", str(self))
        with storage_errors(self):
            return stat_of(self.store.head(self.key))

    def exists(self, **_: Any) -> bool:
        """Whether there is an object at this path or below it."""
        return self.is_file() or self.is_dir()

    def is_file(self, **_: Any) -> bool:
        """Whether there is an object at this path."""
        try:
            return bool(self.key) and bool(self.stat())
        except FileNotFoundError:
            return False

    def is_dir(self, **_: Any) -> bool:
        """Whether there is an object below this path."""
        if (listing := current_listing(self.bucket, self.key)) is not None:
            return bool(listing.entries(self.key))
        with storage_errors(self):
            return any(True for _ in self.store.list(self.key or None))

    def iterdir(self) -> Generator["ObjectPath", None, None]:
        """The objects and folders directly below this path, sorted by name."""
        yield from (self / entry.name for entry in self.scan())

    def glob(self, pattern: str, **_: Any) -> Generator["ObjectPath", None, None]:
        """The objects and folders directly below this path whose name matches a pattern."""
        return (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def rglob(self, pattern: str, **_: Any) -> Generator["ObjectPath", None, None]:
        """The objects at any depth below this path whose name matches a pattern, sorted."""
        paths = sorted(item["path"] for item in self.list_objects())
        bucket = ObjectPath(self.bucket)
        names = (path for path in paths if fnmatch.fnmatchcase(PurePosixPath(path).name, pattern))
        return (bucket / path for path in names)

    def scan(self) -> list[ObjectEntry]:
        """The entries directly below this path, sorted by name, as from `os.scandir`."""
        if (listing := current_listing(self.bucket, self.key)) is not None:
            names = listing.entries(self.key)
        else:
            with storage_errors(self):
                found = self.store.list_with_delimiter(self.key or None)
            objects = without_markers(found["objects"], self.key)
            names = {PurePosixPath(meta["path"]).name: meta for meta in objects}
            names |= dict.fromkeys(PurePosixPath(key).name for key in found["common_prefixes"])
        return [ObjectEntry(name, self / name, names[name]) for name in sorted(names)]

    def first_keys(self, count: int) -> list[str]:
        """The first objects below this path, at any depth, as paths relative to it."""
        with storage_errors(self):
            page = next(iter(self.store.list(self.key or None, chunk_size=count)), [])
        start = len(self.key) + 1 if self.key else 0
        return [meta["path"][start:] for meta in page]

    def list_objects(self) -> list[Any]:
        """Metadata (`path`, `size`, `last_modified`) of all objects below this path."""
        with storage_errors(self):
            return without_markers(self.store.list(self.key or None).collect(), self.key)

    def read_bytes(self) -> bytes:
        """Read an object.

        Raises:
            FileNotFoundError: There is no object at this path.
        """
        with storage_errors(self):
            return self.store.get(self.key).bytes().to_bytes()

    def read_up_to(self, size: int) -> tuple[int, bytes | None]:
        """The size of an object in bytes, and its content unless it is larger than `size`."""
        with storage_errors(self):
            result = self.store.get(self.key)
            total = result.meta["size"]
            return total, result.bytes().to_bytes() if total <= size else None

    def read_text(self, encoding: str | None = None, errors: str | None = None, *_: Any) -> str:
        """Read an object as text, by default UTF-8."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def write_bytes(self, data: Any) -> int:
        """Write an object atomically."""
        with storage_errors(self):
            self.store.put(self.key, bytes(data))
        return len(data)

    def read_version(self) -> tuple[bytes, Version]:
        """The content of an object, and what `replace_version` needs to replace exactly it."""
        with storage_errors(self):
            result = self.store.get(self.key)
            return result.bytes().to_bytes(), _version(result.meta)

    def write_new(self, data: bytes) -> Version:
        """Write an object that does not exist yet.

        Raises:
            FileExistsError: The object exists.
        """
        with storage_errors(self):
            return _version(self.store.put(self.key, data, mode="create"))

    def replace_version(self, data: bytes, version: Version) -> Version:
        """Replace an object if it still has this version.

        Raises:
            FileExistsError: Another process has replaced or removed it.
        """
        with storage_errors(self):
            return _version(self.store.put(self.key, data, mode=version))  # type: ignore[arg-type]

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None,
        newline: str | None = None,
    ) -> int:  # fmt: skip
        """Write an object with text, by default UTF-8, atomically."""
        return self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))

    def open(  # type: ignore[override]
        self, mode: str = "r", buffering: int = -1, encoding: str | None = None,
        errors: str | None = None, newline: str | None = None,
    ) -> IO[Any]:  # fmt: skip
        """Open an object for reading, in ranges."""
        if mode not in ("r", "rb"):
            raise ValueError(f"{self}: objects are written with write_bytes, not opened as {mode}")
        reader = ObjectReader(self.store, self.key, self.stat().st_size, self)
        content = io.BufferedReader(reader, BLOCK_BYTES)
        return content if mode == "rb" else io.TextIOWrapper(content, encoding, errors, newline)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove an object.

        Raises:
            FileNotFoundError: There is no object at this path, and `missing_ok` is not set.
        """
        if not missing_ok:
            self.stat()
        with storage_errors(self):
            self.store.delete(self.key)

    def remove_tree(self, keep: Collection["ObjectPath"] = ()) -> None:
        """Remove all objects at this path and below it, except those to `keep`."""
        spared = {path.key for path in keep}
        keys = [item["path"] for item in self.list_objects() if item["path"] not in spared]
        if self.is_file():
            keys.append(self.key)
        with storage_errors(self):
            self.store.delete(keys)

    def copy_tree(self, target: "ObjectPath") -> None:
        """Copy the object at this path, and all below it, within the bucket."""
        keys = [item["path"] for item in self.list_objects()]
        for key in [*keys, *([self.key] if self.is_file() else [])]:
            with storage_errors(self):
                self.store.copy(key, f"{target.key}{key.removeprefix(self.key)}")

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: folders need not be created."""

    def rmdir(self) -> None:
        """Do nothing: a folder disappears with its last object."""


def _version(meta: Any) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}
