"""List the images of a folder or bucket, one folder at a time."""

import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from pyarrow import fs

from fer_ray.errors import SourceLostError
from fer_ray.sources.decoding import NOT_A_FILE
from fer_ray.sources.image_files import STORAGE_ERRNOS, is_folder, is_image, is_listable
from fer_ray.sources.label_table import LABELS_FILE
from fer_ray.sources.quality import Quality

BROKEN_LINK = "broken link"
UNADDRESSABLE = frozenset({"", ".", ".."})  # folder names in a bucket


class Entry(NamedTuple):
    """An image of a listing.

    Attributes:
        path: Relative to the source, with forward slashes.
        size: Bytes.
        mtime_ns: Nanoseconds since 1970.
        problem: Why it cannot be read, if the listing already shows that.
    """

    path: str
    size: int
    mtime_ns: int
    problem: str | None = None


class FolderWalk:
    """A walk below a local folder, one folder at a time; each real folder is listed once.

    Links that lead outside the root are followed last, in the order of their paths, so that an
    image has the same path in each sweep. Links to folders that are listed anyway are counted.

    Args:
        root: The folder.
        quality: Counts files that are left out.
        pending: Folders to list: paths relative to the root, empty or with a trailing slash, and
            their real paths. None: all.
        hidden_files: Whether to list hidden files and folders.

    Attributes:
        pending: Folders that are still to be listed.
        links: Real folders outside the root that are still to be listed, by the links' paths.
        vanished: Folders that disappeared during the walk, which count as deleted.

    Raises:
        SourceLostError: By `next_folder`: a folder cannot be listed.
    """

    def __init__(
        self, root: str, quality: Quality, pending: list[tuple[str, str]] | None = None,
        hidden_files: bool = False,
    ) -> None:  # fmt: skip
        self._root, self._real_root, self._quality = root, os.path.realpath(root), quality
        self._hidden_files = hidden_files
        self._visited_outside: set[str] = set()  # real folders
        self.pending = [("", self._real_root)] if pending is None else pending
        self.links: dict[str, str] = {}
        self.vanished: list[str] = []

    def next_folder(self) -> Iterator[Entry]:
        """List the images of the next pending folder; its folders become pending."""
        relative, real = self.pending.pop()
        if relative and self._is_listed_elsewhere(relative, real):
            return
        for entry in self._scan(relative):
            if is_folder(entry):
                inner = f"{relative}{entry.name}/"
                if entry.is_symlink():
                    self.links[inner] = os.path.realpath(entry.path)
                else:
                    self.pending.append((inner, os.path.join(real, entry.name)))  # noqa: PTH118
            elif is_image(entry.name):
                if image := self._image(entry, f"{relative}{entry.name}"):
                    yield image
            elif relative or entry.name != LABELS_FILE:
                self._quality.note_other_file(f"{relative}{entry.name}")

    def next_link(self) -> bool:
        """Make the folder of the first link pending; whether there was one."""
        if not self.links:
            return False
        relative = min(self.links)
        self.pending.append((relative, self.links.pop(relative)))
        return True

    def _is_listed_elsewhere(self, relative: str, real: str) -> bool:
        """Return whether a folder, reached through a link, is listed under another path."""
        is_inside = real == self._real_root or real.startswith(f"{self._real_root}/")
        if is_inside and real == f"{self._real_root}/{relative.rstrip('/')}":
            return False
        if is_inside or real in self._visited_outside:
            self._quality.note("linked_folder", relative.rstrip("/"))
            return True
        self._visited_outside.add(real)
        return False

    def _image(self, entry: "os.DirEntry[str]", path: str) -> Entry | None:
        """The entry of an image, or None if it has just disappeared."""
        try:
            info = entry.stat()
            problem = None if stat.S_ISREG(info.st_mode) else NOT_A_FILE
        except OSError as error:
            is_expected = entry.is_symlink() or error.errno == errno.ENOENT
            if error.errno in STORAGE_ERRNOS or not is_expected:
                raise _unlistable(self._root, path, error) from None
            problem = BROKEN_LINK if error.errno == errno.ENOENT else error.strerror
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                return None
        return Entry(path, info.st_size, info.st_mtime_ns, problem)

    def _scan(self, relative: str) -> Iterator["os.DirEntry[str]"]:
        """The entries of a folder that belong in the listing."""
        try:
            entries = os.scandir(f"{self._root}/{relative}")
        except (FileNotFoundError, NotADirectoryError) as problem:
            if not relative:
                raise _unlistable(self._root, relative, problem) from None
            self.vanished.append(relative)
            return
        except OSError as problem:
            raise _unlistable(self._root, relative, problem) from None
        with entries:
            try:
                for entry in entries:
                    if is_listable(entry.name, relative, self._quality, self._hidden_files):
                        yield entry
            except OSError as problem:
                raise _unlistable(self._root, relative, problem) from None


def _unlistable(root: str, relative: str, problem: OSError) -> SourceLostError:
    return SourceLostError(
        f"Cannot list {root}/{relative}".rstrip("/") + f": {problem.strerror}. Nothing was changed."
    )


class BucketWalk:
    """A walk below a prefix of a bucket, one folder at a time.

    pyarrow cannot request keys with an empty segment, `.` or `..` (`a//b.jpg`): such folders are
    counted and skipped.

    Args:
        filesystem: File system of the bucket.
        root: Bucket and prefix.
        quality: Counts objects that are left out.
        pending: Folders to list. None: all.
        hidden_files: Whether to list objects and folders whose names start with a dot.

    Attributes:
        pending: Folders that are still to be listed.
    """

    def __init__(
        self, filesystem: fs.FileSystem, root: str, quality: Quality,
        pending: list[str] | None = None, hidden_files: bool = False,
    ) -> None:  # fmt: skip
        self._filesystem, self._root, self._quality = filesystem, root, quality
        self._hidden_files = hidden_files
        self.pending = [root] if pending is None else pending
        self.links: dict[str, str] = {}  # as in `FolderWalk`; a bucket has none
        self.vanished: list[str] = []

    def next_folder(self) -> Iterator[Entry]:
        """List the images of the next pending folder; its folders become pending."""
        folder, root = self.pending.pop(), self._root
        # pyarrow lists a folder in Google Cloud Storage only if an object exists for it.
        if self._filesystem.type_name == "gcs":
            yield from self._list_flat()
            return
        parent = f"{folder[len(root) :].lstrip('/')}/".lstrip("/")
        for info in self._filesystem.get_file_info(fs.FileSelector(folder)):
            if info.type != fs.FileType.Directory:
                yield from self._image(info, parent)
            elif info.path.rstrip("/") == folder or info.base_name in UNADDRESSABLE:
                name = "" if info.path.rstrip("/") == folder else info.base_name
                self._quality.note("unaddressable", f"{parent}{name}/")
            elif self._is_listable(info.base_name, parent):
                self.pending.append(info.path)

    def _is_listable(self, name: str, parent: str) -> bool:
        return is_listable(name, parent, self._quality, self._hidden_files)

    def _image(self, info: fs.FileInfo, parent: str) -> Iterator[Entry]:
        """The entry of an object, if it is an image."""
        path = f"{parent}{info.base_name}"
        if not self._is_listable(info.base_name, parent):
            return
        if is_image(info.base_name):
            yield Entry(path, info.size, info.mtime_ns or 0)
        elif path != LABELS_FILE:
            self._quality.note_other_file(path)

    def _list_flat(self) -> Iterator[Entry]:
        """List all objects from one recursive listing in memory."""
        listable: dict[str, bool] = {}  # by folder
        for info in self._filesystem.get_file_info(fs.FileSelector(self._root, recursive=True)):
            if info.type == fs.FileType.Directory:
                continue
            *folders, _ = info.path[len(self._root) + 1 :].split("/")
            if self._are_listable(folders, listable):
                yield from self._image(info, "".join(f"{name}/" for name in folders))

    def _are_listable(self, folders: list[str], listable: dict[str, bool]) -> bool:
        """Return whether objects in nested folders can be listed; counts each folder once."""
        parent = ""
        for name in folders:
            folder = f"{parent}{name}/"
            if folder not in listable:
                listable[folder] = name not in UNADDRESSABLE and self._is_listable(name, parent)
                if name in UNADDRESSABLE:
                    self._quality.note("unaddressable", folder)
            if not listable[folder]:
                return False
            parent = folder
        return True

    def next_link(self) -> bool:
        """A bucket has no links."""
        return False
