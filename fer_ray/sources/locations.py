"""Where the images lie: a folder, or a bucket through pyarrow's file systems."""

import errno
import io
import os
import random
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pyarrow import fs

from fer_ray.errors import SourceLostError, UserError
from fer_ray.sources.decoding import STORAGE_LOST
from fer_ray.sources.quality import Quality
from fer_ray.sources.stream import NO_FILE, Entry, on_disk, on_objects
from fer_ray.storage.uris import UNUSABLE, opened, told, without_secret

READ_ATTEMPTS = 4  # of an object, where the store answers with an error
# Of a mount. An input/output error may be of one file: a bad sector.
LOST = frozenset(STORAGE_LOST) - {errno.EIO}
AT_ONCE = 1 << 20  # bytes of a file that has grown
FIRST_PAUSE_S = 0.5  # doubled after each attempt


@dataclass(frozen=True)
class Source:
    """A tree of images; goes to workers as it is.

    Attributes:
        uri: Where it is, as records tell it: a folder's whole path, a URI without its user's key.
        filesystem: That of its scheme.
        root: Its folder, or bucket and prefix, within the file system.
        witness: Path of an image that could be read: while it can be, so can the source.
    """

    uri: str
    filesystem: fs.FileSystem
    root: str
    witness: str | None = None

    @property
    def local(self) -> bool:
        """Whether it is a folder that is mounted here."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    @property
    def empty(self) -> bool:
        """Whether it is a folder that is not there or holds nothing, as one that is unmounted."""
        return self.local and not _holds_anything(self.root)

    def entries(self, quality: Quality) -> Iterator[Entry]:
        """All images, folder by folder; files of other kinds are counted.

        Raises:
            SourceLostError: A folder cannot be listed. One that vanishes meanwhile is only gone.
        """
        try:
            if self.local:
                yield from on_disk(self.root, quality)
            else:
                yield from on_objects(self.filesystem, self.root, quality)
        except OSError as problem:
            raise SourceLostError(f"Cannot list {self.uri}: {told(problem)}.") from None

    def read(self, path: str, most: int | None = None) -> bytes:
        """The content of one image.

        Args:
            path: Relative to the source.
            most: Bytes that are of use; of a larger one these and one more are read.

        Raises:
            FileNotFoundError: It is not there any more.
            OSError: It cannot be read, though its storage is there.
            SourceLostError: The storage itself is gone.
        """
        size = None if most is None else most + 1
        return self._read_local(path, size) if self.local else self._read_object(path, size)

    def _read_local(self, path: str, size: int | None) -> bytes:
        try:
            return _read_file(f"{self.root}/{path}", size)
        except OSError as problem:
            if problem.errno in LOST or self.empty:
                raise SourceLostError(f"{self.uri} is gone: {told(problem)}.") from None
            raise

    def _read_object(self, path: str, size: int | None) -> bytes:
        last: OSError
        for attempt in range(READ_ATTEMPTS):
            if attempt:
                time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * (0.5 + random.random()))
            try:
                with self.filesystem.open_input_file(f"{self.root}/{path}") as opened:
                    return bytes(opened.read(size))
            except FileNotFoundError as problem:
                last = problem
                break
            except OSError as problem:
                last = problem
        if self._answers():
            raise last
        raise SourceLostError(f"{self.uri} is gone or does not answer: {told(last)}.") from None

    def _answers(self) -> bool:
        """Whether the storage itself is there, so that what failed is about one object."""
        try:
            return bool(self.filesystem.get_file_info(self.root).type == fs.FileType.Directory)
        except OSError:
            return False


def open_source(uri: str) -> Source:
    """The source at a path or URI (`s3://bucket/prefix`, `gs://…`, `file:///…`).

    Raises:
        UserError: There is none, or its scheme is unknown.
    """
    try:
        filesystem, root = opened(uri)
    except UNUSABLE as problem:
        raise UserError(f"--source {without_secret(uri)}: {told(problem)}.") from None
    local = isinstance(filesystem, fs.LocalFileSystem)
    return _existing(Source(root if local else without_secret(uri).rstrip("/"), filesystem, root))


def _existing(source: Source) -> Source:
    try:
        kind = source.filesystem.get_file_info(source.root).type
    except UNUSABLE as problem:
        raise SourceLostError(f"--source {source.uri} does not answer: {told(problem)}.") from None
    if kind != fs.FileType.Directory:
        raise SourceLostError(f"--source {source.uri}: there is no such folder.")
    return source


def _read_file(file: str, size: int | None) -> bytes:
    """A regular file's bytes; a pipe that took its place does not make this wait."""
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb", buffering=0) as content:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, NO_FILE)
        return content.readall() if size is None else _up_to(content, size)


def _up_to(content: io.FileIO, size: int) -> bytes:
    """So many bytes, or as many as there are; no room is made for more than there are."""
    parts, at_once = [], os.fstat(content.fileno()).st_size + 1
    while size > 0 and (part := content.read(min(size, at_once))):
        parts.append(part)
        size, at_once = size - len(part), AT_ONCE
    return b"".join(parts)


def _holds_anything(root: str) -> bool:
    """Whether a folder is there and holds something."""
    try:
        with os.scandir(root) as found:
            return any(True for _ in found)
    except OSError:
        return False
