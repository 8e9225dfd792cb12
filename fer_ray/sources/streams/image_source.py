"""The source of a sweep: a local folder or a bucket, through pyarrow's file systems."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import fs

from fer_ray.errors import SourceLostError, UserError, error_text
from fer_ray.sources.decoding import NOT_A_FILE
from fer_ray.sources.image_files import STORAGE_ERRNOS
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.entries import BucketWalk, Entry, FolderWalk
from fer_ray.storage.objects.uris import (
    AZURE_SCHEMES,
    URI_ERRORS,
    attempts,
    resolve_filesystem,
)
from fer_ray.storage.paths import OBJECT_SCHEMES, to_path, without_credentials

# Errors of an entire mount. EIO is not among them: a bad sector affects a single file.
MOUNT_ERRNOS = frozenset(STORAGE_ERRNOS) - {errno.EIO}
CHUNK_BYTES = 1 << 20  # per read of a file that has grown since it was opened


@dataclass(frozen=True)
class Source:
    """A tree of images in a folder or bucket. Instances can be pickled and sent to workers.

    Attributes:
        uri: Absolute path of a folder, or a URI without credentials, as records show it.
        filesystem: File system of the URI's scheme.
        root: Folder, or bucket and prefix, within the file system.
        path: The same folder or prefix, for label files. None if its URI contains options, which
            paths cannot.
        probe: Path of an image that has been read before. If it can no longer be read, the source
            is unavailable.
        hidden_files: Whether to list files and folders whose names start with a dot.
    """

    uri: str
    filesystem: fs.FileSystem
    root: str
    path: Path | None = None
    probe: str | None = None
    hidden_files: bool = False

    @property
    def local(self) -> bool:
        """Whether the source is a mounted folder."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    @property
    def location(self) -> str:
        """The folder itself, without links, or the URI: equal for the same images."""
        return os.path.realpath(self.root) if self.local else self.uri

    @property
    def empty(self) -> bool:
        """Whether the source is a folder that is missing or empty, like an unmounted one."""
        return self.local and not _has_entries(self.root)

    def walk(self, quality: Quality, pending: list[Any] | None = None) -> FolderWalk | BucketWalk:
        """Start to list the images.

        Args:
            quality: Counts files that are left out.
            pending: Folders to list, from another walk. None: all.
        """
        if self.local:
            return FolderWalk(self.root, quality, pending, self.hidden_files)
        return BucketWalk(self.filesystem, self.root, quality, pending, self.hidden_files)

    def entries_of(self, walk: FolderWalk | BucketWalk) -> Iterator[Entry]:
        """List the images of the next folder of a walk.

        Raises:
            SourceLostError: The folder cannot be listed. A folder that disappears during the walk
                counts as deleted.
        """
        try:
            yield from walk.next_folder()
        except OSError as problem:
            raise SourceLostError(f"Cannot list {self.uri}: {error_text(problem)}.") from None

    def entries(self, quality: Quality) -> Iterator[Entry]:
        """List all images, folder by folder, and count other files in `quality`.

        Raises:
            SourceLostError: As for `entries_of`.
        """
        walk = self.walk(quality)
        while walk.pending or walk.next_link():
            yield from self.entries_of(walk)

    def read(self, path: str, max_bytes: int | None = None) -> bytes:
        """Read the content of one image.

        Args:
            path: Relative to the source.
            max_bytes: Size limit. Of a larger image `max_bytes + 1` bytes are returned.

        Raises:
            FileNotFoundError: The image no longer exists.
            OSError: The image cannot be read although its storage is available.
            SourceLostError: The storage is unavailable.
        """
        size = None if max_bytes is None else max_bytes + 1
        return self._read_local(path, size) if self.local else self._read_object(path, size)

    def _read_local(self, path: str, size: int | None) -> bytes:
        try:
            return _read_file(f"{self.root}/{path}", size)
        except OSError as problem:
            if problem.errno in MOUNT_ERRNOS or self.empty:
                raise self._lost(problem) from None
            raise

    def _read_object(self, path: str, size: int | None) -> bytes:
        error: OSError
        for _ in attempts():
            try:
                with self.filesystem.open_input_file(f"{self.root}/{path}") as stream:
                    return bytes(stream.read(size))
            except FileNotFoundError as problem:
                error = problem
                break
            except OSError as problem:
                error = problem
        if self._responds():
            raise error
        raise self._lost(error) from None

    def _responds(self) -> bool:
        """Return whether the storage itself responds, so that an error concerns a single object."""
        try:
            return bool(self.filesystem.get_file_info(self.root).type == fs.FileType.Directory)
        except OSError:
            return False

    def _lost(self, problem: OSError) -> SourceLostError:
        return SourceLostError(f"{self.uri} is unavailable: {error_text(problem)}.")


def open_source(uri: str, hidden_files: bool = False) -> Source:
    """Open the source at a path or URI (`s3://bucket/prefix`, `gs://…`, `file:///…`).

    Args:
        uri: The path or URI.
        hidden_files: Whether to list files and folders whose names start with a dot.

    Raises:
        SourceLostError: The source does not exist or does not respond.
        UserError: The scheme is unknown, or the URI is malformed.
    """
    try:
        filesystem, root = resolve_filesystem(uri)
    except URI_ERRORS as problem:
        raise UserError(f"--source {without_credentials(uri)}: {error_text(problem)}.") from None
    is_local = isinstance(filesystem, fs.LocalFileSystem)
    shown = root if is_local else without_credentials(uri).rstrip("/")
    path = Path(root) if is_local else _path_of(uri)
    source = Source(shown, filesystem, root, path, hidden_files=hidden_files)
    _require_folder(source)
    return source


def _path_of(uri: str) -> Path | None:
    scheme, _, rest = uri.partition("://")
    has_user = "@" in rest.partition("/")[0] and scheme not in AZURE_SCHEMES
    is_plain = scheme in OBJECT_SCHEMES and not has_user and not {"?", "%"} & {*rest}
    return to_path(uri) if is_plain else None


def _require_folder(source: Source) -> None:
    try:
        kind = source.filesystem.get_file_info(source.root).type
    except URI_ERRORS as problem:
        raise SourceLostError(
            f"--source {source.uri} does not respond: {error_text(problem)}."
        ) from None
    if kind != fs.FileType.Directory:
        raise SourceLostError(
            f"--source {source.uri} does not exist or is not a folder. Correct it, or mount "
            "the folder."
        )


def _read_file(file: str, size: int | None) -> bytes:
    """Read a regular file; a pipe in its place is an error and does not block."""
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb", buffering=0) as stream:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, NOT_A_FILE)
        return stream.readall() if size is None else _read_at_most(stream, size)


def _read_at_most(stream: io.FileIO, size: int) -> bytes:
    """Read up to `size` bytes, without allocating more memory than the file needs."""
    parts, chunk = [], os.fstat(stream.fileno()).st_size + 1
    while size > 0 and (part := stream.read(min(size, chunk))):
        parts.append(part)
        size, chunk = size - len(part), CHUNK_BYTES
    return b"".join(parts)


def _has_entries(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False
