"""Which files of a source are images, and how local folders are scanned."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fer_ray.errors import SourceLostError, StoreLostError, UserError
from fer_ray.sources.quality import Quality
from fer_ray.storage.object_listing import ObjectEntry
from fer_ray.storage.object_path import ObjectPath

FileEntry = os.DirEntry[str] | ObjectEntry

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm")
)
# Files and folders that operating systems and storage systems create; compared in lower case.
JUNK_NAMES = frozenset(
    (
        *(".ds_store", "__macosx", ".spotlight-v100", ".trashes"),
        *("thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("lost+found", ".snapshot", ".gitkeep"),
    )
)


def is_image(name: str) -> bool:
    """Return whether a file name has an image extension, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (ten times as fast)


def is_junk(name: str) -> bool:
    """Return whether an operating system, not a person, created the file or folder of this name."""
    return name.lower() in JUNK_NAMES or name.startswith("._")


def printable_name(name: str) -> str:
    """A file name in valid UTF-8; bytes that are not UTF-8 become hexadecimal escapes."""
    if name.isascii():
        return name
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_listable(name: str, folder: str, quality: Quality) -> bool:
    """Return whether a directory entry belongs in a listing.

    Args:
        name: Name of the entry.
        folder: Path of its folder with a trailing slash, or an empty string; for the examples.
        quality: Counts junk and names that are not valid UTF-8.
    """
    printable = printable_name(name)
    if is_junk(name):
        quality.note("junk_file", f"{folder}{printable}")
    elif name != printable:
        quality.note("undecodable_name", f"{folder}{printable}")
    else:
        return True
    return False


def scan_folder(folder: Path) -> list[FileEntry]:
    """All entries of `folder`, sorted by name.

    Raises:
        UserError: The folder cannot be listed.
    """
    if isinstance(folder, ObjectPath):
        return [*folder.scan()]
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as problem:
        raise UserError(
            f"The folder {folder} cannot be listed: {problem.strerror}. Fix its permissions, or "
            "move it out of the source."
        ) from None


def require_available(root: Path) -> None:
    """Check that the store of a source answers, so that an error concerns a single image.

    Raises:
        SourceLostError: It does not, or the source is gone.
    """
    with source_lost_on_error():
        if not root.is_dir():
            raise SourceLostError(f"{root} does not exist any more.")


@contextmanager
def source_lost_on_error() -> Iterator[None]:
    """Raise errors of an object store as those of a source.

    Raises:
        SourceLostError: The store refuses a request, or does not answer.
    """
    try:
        yield
    except StoreLostError as problem:
        raise SourceLostError(str(problem)) from None


def folders_and_files(folder: Path, quality: Quality) -> tuple[list[FileEntry], list[FileEntry]]:
    """The folders and the files directly in `folder`, each sorted by name.

    Junk and undecodable names are left out and counted in `quality`.

    Raises:
        UserError: The folder cannot be listed. Skipping it would drop its images silently.
    """
    folders: list[FileEntry] = []
    files: list[FileEntry] = []
    for entry in scan_folder(folder):
        if is_listable(entry.name, f"{folder.name}/", quality):
            (folders if entry.is_dir() else files).append(entry)
    return folders, files


def _real_path(folder: Path) -> str:
    return str(folder) if isinstance(folder, ObjectPath) else os.path.realpath(folder)


def image_paths(root: Path, quality: Quality) -> Iterator[str]:
    """Paths of all images below `root`, relative to it with forward slashes, in sorted order.

    Links to folders are followed unless the target contains the link, so that loops end.

    Raises:
        UserError: A folder cannot be listed.
    """
    pending = [("", frozenset((_real_path(root),)))]
    while pending:
        relative, ancestors = pending.pop()
        folders, files = folders_and_files(root / relative, quality)
        for file in files:
            if is_image(file.name):
                yield f"{relative}{file.name}"
            else:
                quality.note("not_an_image", f"{relative}{file.name}")
        for folder in reversed(folders):
            real = _real_path(root / relative / folder.name)
            if real not in ancestors:
                pending.append((f"{relative}{folder.name}/", ancestors | {real}))
