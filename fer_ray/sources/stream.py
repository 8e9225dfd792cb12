"""Listing a source: each image once, as a stream; what is left out is counted."""

import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from pyarrow import fs

from fer_ray.errors import SourceLostError
from fer_ray.sources.decoding import STORAGE_LOST
from fer_ray.sources.photographs import LABELS_FILE
from fer_ray.sources.quality import Quality
from fer_ray.sources.walk import in_utf8, is_image, is_junk

NO_FILE = "no file, but a folder, pipe or device"
NO_TARGET = "a link to nothing"
UNADDRESSABLE = frozenset({"", ".", ".."})  # as folders of a bucket


class Entry(NamedTuple):
    """An image as it was listed.

    Attributes:
        path: Relative to the source.
        size: Bytes.
        mtime_ns: Nanoseconds since 1970.
        problem: Why it cannot be read, if that shows already.
    """

    path: str
    size: int
    mtime_ns: int
    problem: str | None = None


def on_disk(root: str, quality: Quality) -> Iterator[Entry]:
    """All images below a folder, each real folder once.

    Links that lead outside are followed after all else, in the order of their paths, so that an
    image has the same path in each sweep. Those that lead to what is listed anyway are counted.

    Raises:
        SourceLostError: A folder cannot be listed. One that vanishes meanwhile is only gone.
    """
    home = os.path.realpath(root)
    walk = _Walk(root, home, quality)
    yield from walk.below("", home)
    while walk.links:
        relative = min(walk.links)
        yield from walk.below(relative, walk.links.pop(relative))


class _Walk:
    """Folders below one, and what of them is known.

    Attributes:
        links: Real folders outside that links lead to, by the links' paths; not listed yet.
    """

    def __init__(self, root: str, home: str, quality: Quality) -> None:
        self._root, self._home, self._quality = root, home, quality
        self._outside: set[str] = set()  # real folders outside that were listed
        self.links: dict[str, str] = {}

    def below(self, relative: str, real: str) -> Iterator[Entry]:
        """Images of a folder (relative to the root, ending with a slash or empty) and below it."""
        pending = [(relative, real)]
        while pending:
            relative, real = pending.pop()
            if relative and self._listed_before(relative, real):
                continue
            for entry in self._folder(relative):
                if _folder_like(entry):
                    inner = f"{relative}{entry.name}/"
                    if entry.is_symlink():
                        self.links[inner] = os.path.realpath(entry.path)
                    else:
                        pending.append((inner, os.path.join(real, entry.name)))  # noqa: PTH118
                elif is_image(entry.name):
                    if found := self._image(entry, f"{relative}{entry.name}"):
                        yield found
                elif relative or entry.name != LABELS_FILE:
                    self._quality.note("not_an_image", f"{relative}{entry.name}")

    def _listed_before(self, relative: str, real: str) -> bool:
        """Whether a folder outside, or a link's target inside, is listed under another path."""
        inside = real == self._home or real.startswith(f"{self._home}/")
        if inside and not self._behind_link(relative, real):
            return False
        if inside or real in self._outside:
            self._quality.note("linked_folder", relative.rstrip("/"))
            return True
        self._outside.add(real)
        return False

    def _behind_link(self, relative: str, real: str) -> bool:
        return real != f"{self._home}/{relative.rstrip('/')}"

    def _image(self, entry: "os.DirEntry[str]", path: str) -> Entry | None:
        """An image's entry; None for one that vanished meanwhile."""
        try:
            found = entry.stat()
            problem = None if stat.S_ISREG(found.st_mode) else NO_FILE
        except OSError as why:
            if why.errno in STORAGE_LOST or not (entry.is_symlink() or why.errno == errno.ENOENT):
                raise _unlistable(self._root, path, why) from None
            problem = NO_TARGET if why.errno == errno.ENOENT else why.strerror
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                return None
        return Entry(path, found.st_size, found.st_mtime_ns, problem)

    def _folder(self, relative: str) -> Iterator["os.DirEntry[str]"]:
        """What lies in a folder, without what cannot be named or is junk."""
        try:
            found = os.scandir(f"{self._root}/{relative}")
        except (FileNotFoundError, NotADirectoryError) as problem:
            if not relative:
                raise _unlistable(self._root, relative, problem) from None
            return
        except OSError as problem:
            raise _unlistable(self._root, relative, problem) from None
        with found:
            try:
                for entry in found:
                    name = entry.name if entry.name.isascii() else in_utf8(entry.name)
                    if name != entry.name:
                        self._quality.note("undecodable_name", f"{relative}{name}")
                    elif is_junk(name):
                        self._quality.note("junk_file", f"{relative}{name}")
                    else:
                        yield entry
            except OSError as problem:
                raise _unlistable(self._root, relative, problem) from None


def _unlistable(root: str, relative: str, problem: OSError) -> SourceLostError:
    return SourceLostError(
        f"Cannot list {root}/{relative}".rstrip("/") + f": {problem.strerror}. Nothing was changed."
    )


def _folder_like(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a folder or a link to one; not a link that leads nowhere, or to itself."""
    try:
        return entry.is_dir()
    except OSError as problem:
        if problem.errno in STORAGE_LOST:
            raise
        return False


def on_objects(filesystem: fs.FileSystem, root: str, quality: Quality) -> Iterator[Entry]:
    """All images of a bucket's prefix.

    Keys with an empty segment, `.` or `..` (`a//b.jpg`) cannot be asked for through pyarrow: their
    folders are counted, and not entered.
    """
    # Of Google's folders pyarrow shows only those that have an object of their own.
    if filesystem.type_name == "gcs":
        yield from _below(filesystem, root, quality)
        return
    pending = [root]
    while pending:
        folder = pending.pop()
        for info in filesystem.get_file_info(fs.FileSelector(folder)):
            if info.type != fs.FileType.Directory:
                yield from _object(info, info.path[len(root) :].lstrip("/"), quality)
            elif info.path.rstrip("/") == folder or info.base_name in UNADDRESSABLE:
                within = folder[len(root) :].lstrip("/")
                name = "" if info.path.rstrip("/") == folder else info.base_name
                quality.note("unaddressable", f"{within}/{name}/".lstrip("/") or "/")
            elif not is_junk(info.base_name):
                pending.append(info.path)


def _below(filesystem: fs.FileSystem, root: str, quality: Quality) -> Iterator[Entry]:
    """As `on_objects`, of one listing of all, which is held in memory."""
    odd = set()
    for info in filesystem.get_file_info(fs.FileSelector(root, recursive=True)):
        relative = info.path[len(root) + 1 :]
        folders = relative.split("/")[:-1]
        if info.type == fs.FileType.Directory or any(is_junk(name) for name in folders):
            continue
        if UNADDRESSABLE.isdisjoint(folders):
            yield from _object(info, relative, quality)
        else:
            odd.add("/".join([*folders, ""]))
    for folder in sorted(odd):
        quality.note("unaddressable", folder)


def _object(info: fs.FileInfo, relative: str, quality: Quality) -> Iterator[Entry]:
    if is_junk(info.base_name):
        quality.note("junk_file", relative)
    elif is_image(info.base_name):
        yield Entry(relative, info.size, info.mtime_ns or 0)
    elif relative != LABELS_FILE:
        quality.note("not_an_image", relative)
