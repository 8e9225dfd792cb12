"""Where the images lie: a folder, or a bucket through pyarrow's file systems."""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pyarrow import fs

from fer_ray.data.decode import STORAGE_LOST
from fer_ray.data.walk import is_image, is_junk
from fer_ray.errors import SourceLostError, UserError

READ_ATTEMPTS = 4  # of an object, where the store answers with an error
FIRST_PAUSE_S = 0.5  # doubled after each attempt


class Entry(NamedTuple):
    """An image as it was listed: path relative to the source, bytes, nanoseconds since 1970."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Source:
    """A tree of images; goes to workers as it is.

    Attributes:
        uri: As it was given.
        filesystem: That of its scheme.
        root: Its folder, or bucket and prefix, within the file system.
    """

    uri: str
    filesystem: fs.FileSystem
    root: str

    @property
    def local(self) -> bool:
        """Whether it is a folder that is mounted here."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def entries(self) -> Iterator[Entry]:
        """All images, folder by folder; files of other kinds are passed over.

        Raises:
            SourceLostError: A folder cannot be listed. One that vanishes meanwhile is only gone.
        """
        listed = self._scan() if self.local else self._select()
        try:
            for entry in listed:
                if entry.path.isascii() or _encodable(entry.path):
                    yield entry
        except OSError as problem:
            raise SourceLostError(f"Cannot list {self.uri}: {_told(problem)}.") from None

    def read(self, path: str) -> bytes:
        """The content of one image.

        Raises:
            FileNotFoundError: It is not there any more.
            OSError: It cannot be read, though its storage is there.
            SourceLostError: The storage itself is gone.
        """
        return self._read_local(path) if self.local else self._read_object(path)

    def _scan(self) -> Iterator[Entry]:
        pending = [("", frozenset((os.path.realpath(self.root),)))]
        while pending:
            relative, above = pending.pop()
            try:
                found = os.scandir(f"{self.root}/{relative}")
            except FileNotFoundError:
                if not relative:
                    raise
                continue
            with found:
                for entry in found:
                    if is_junk(entry.name):
                        continue
                    if entry.is_dir():
                        real = os.path.realpath(entry.path)
                        if real not in above:  # a link into a folder that holds it
                            pending.append((f"{relative}{entry.name}/", above | {real}))
                    elif is_image(entry.name) and (stat := _stat(entry)):
                        yield Entry(f"{relative}{entry.name}", stat.st_size, stat.st_mtime_ns)

    def _select(self) -> Iterator[Entry]:
        pending = [self.root]
        while pending:
            for info in self.filesystem.get_file_info(fs.FileSelector(pending.pop())):
                if info.type == fs.FileType.Directory:
                    pending.append(info.path)
                elif is_image(info.base_name) and not is_junk(info.base_name):
                    relative = info.path[len(self.root) :].lstrip("/")
                    yield Entry(relative, info.size, info.mtime_ns or 0)

    def _read_local(self, path: str) -> bytes:
        try:
            return Path(self.root, path).read_bytes()
        except OSError as problem:
            if problem.errno in STORAGE_LOST or not _holds_anything(self.root):
                raise SourceLostError(f"{self.uri} is gone: {_told(problem)}.") from None
            raise

    def _read_object(self, path: str) -> bytes:
        for attempt in range(READ_ATTEMPTS):
            try:
                with self.filesystem.open_input_file(f"{self.root}/{path}") as opened:
                    return bytes(opened.read())
            except FileNotFoundError:
                raise
            except OSError as problem:
                last = problem
                time.sleep(FIRST_PAUSE_S * 2**attempt * (0.5 + random.random()))
        raise SourceLostError(f"{self.uri} does not answer: {_told(last)}.") from None


def open_source(uri: str) -> Source:
    """The source at a path or URI (`s3://bucket/prefix`, `gs://…`, `file:///…`).

    Raises:
        UserError: There is none, or its scheme is unknown.
    """
    try:
        if "://" not in uri:
            return _existing(uri, fs.LocalFileSystem(), str(Path(uri).resolve()))
        filesystem, root = fs.FileSystem.from_uri(uri)
    except (ValueError, OSError) as problem:
        raise UserError(f"--source {uri}: {_told(problem)}.") from None
    return _existing(uri, filesystem, root.rstrip("/"))


def _existing(uri: str, filesystem: fs.FileSystem, root: str) -> Source:
    try:
        kind = filesystem.get_file_info(root).type
    except OSError as problem:
        raise SourceLostError(f"--source {uri} does not answer: {_told(problem)}.") from None
    if kind != fs.FileType.Directory:
        raise SourceLostError(f"--source {uri}: there is no such folder.")
    return Source(uri, filesystem, root)


def _stat(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return entry.stat()
    except FileNotFoundError:  # removed since, or a link to nothing
        return None


def _holds_anything(root: str) -> bool:
    """Whether a folder is there and holds something; an empty one is taken for unmounted."""
    try:
        with os.scandir(root) as found:
            return any(True for _ in found)
    except OSError:
        return False


def _encodable(path: str) -> bool:
    """Whether a name can be written into a table; not one of bytes that are no UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _told(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem).splitlines()[0][:300]
