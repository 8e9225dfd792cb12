"""Which files of a source are images, and how local folders are scanned."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from fer_ray.errors import SourceLostError, StoreLostError, UserError
from fer_ray.sources.quality import Quality
from fer_ray.storage.objects.object_listing import ObjectEntry
from fer_ray.storage.objects.object_path import ObjectPath

# Errors of the storage, not of the file: calling the file unreadable would be wrong.
STORAGE_ERRNOS = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN)
FileEntry = os.DirEntry[str] | ObjectEntry

# Extensions of the formats that `fer_ray.sources.decoding` decodes; compared in lower case.
IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
        *(".png", ".apng", ".gif", ".webp", ".avif", ".avifs", ".bmp", ".dib", ".tif", ".tiff"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        *(".pgm", ".ppm", ".pnm", ".pbm", ".pfm", ".ras", ".sr"),
    )
)
# Files and folders that operating systems, storage systems and programs create: metadata, previews
# and deleted files. Compared in lower case.
JUNK_NAMES = frozenset(
    (
        *(".ds_store", "__macosx", ".spotlight-v100", ".fseventsd", ".apdisk", "icon\r"),
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini"),
        *(".picasa.ini", ".picasaoriginals", "system volume information"),
        *("lost+found", "lost.dir", ".snapshot", ".snapshots", ".zfs", "#snapshot", "~snapshot"),
        *(
            "@eadir",
            "@tmp",
            "#recycle",
            "@recycle",
            "@recently-snapshot",
            ".@__thumb",
            ".@upload_cache",
        ),
        *(".thumbnails", ".thumb", ".thumbs", ".thumbdata", ".ipynb_checkpoints"),
        *("$recycle.bin", "recycler", ".trash", ".trashes", ".trashbox", ".recycle"),
        *(".stversions", ".stfolder", ".appledouble"),
        *(".gitkeep", ".git", ".svn", ".nfs", ".nomedia", ".directory"),
    )
)
# Beginnings of such names: AppleDouble files, trash folders and files, files in use or unfinished.
JUNK_PREFIXES = (
    "._",
    ".trash-",
    ".trashed-",
    ".pending-",
    ".thumbdata",
    ".nfs0",
    ".fuse_hidden",
    "~$",
)
JUNK_SUFFIXES = (".lrdata",)  # previews of Lightroom


def is_image(name: str) -> bool:
    """Return whether a file name has an image extension, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (ten times as fast)


def is_junk(name: str) -> bool:
    """Return whether the system, not a person, created the file or folder of this name."""
    name = name.lower()
    return name in JUNK_NAMES or name.startswith(JUNK_PREFIXES) or name.endswith(JUNK_SUFFIXES)


def is_hidden(name: str) -> bool:
    """Return whether the file or folder of this name is hidden: its name starts with a dot."""
    return name.startswith(".")


def printable_name(name: str) -> str:
    """A file name in valid UTF-8; bytes that are not UTF-8 become hexadecimal escapes."""
    if name.isascii():
        return name
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_listable(name: str, folder: str, quality: Quality, hidden_files: bool = False) -> bool:
    """Return whether a directory entry belongs in a listing.

    Args:
        name: Name of the entry.
        folder: Path of its folder with a trailing slash, or an empty string; for the examples.
        quality: Counts junk, hidden entries, and names that are not valid UTF-8.
        hidden_files: Whether hidden entries belong in it.
    """
    printable = printable_name(name)
    if is_junk(name):
        quality.note("junk_file", f"{folder}{printable}")
    elif is_hidden(name) and not hidden_files:
        quality.note("hidden_file", f"{folder}{printable}")
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


def first_names(folder: Path, count: int) -> list[str]:
    """Names of some entries of a folder, without listing all of them; none if it is missing."""
    if isinstance(folder, ObjectPath):
        return list(dict.fromkeys(key.partition("/")[0] for key in folder.first_keys(count)))
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in islice(entries, count)]
    except OSError:  # listing the source reports that
        return []


def is_folder(entry: FileEntry) -> bool:
    """Return whether an entry is a folder or a link to one; broken and circular links are not."""
    try:
        return entry.is_dir()
    except OSError as problem:
        if problem.errno in STORAGE_ERRNOS:
            raise
        return False


def require_available(folder: Path) -> None:
    """Check that the store of a source answers, so that an error concerns a single image.

    Args:
        folder: A folder that contained images. An unmounted file system leaves it empty.

    Raises:
        SourceLostError: The store does not answer, or the folder is gone or empty.
    """
    with source_lost_on_error():
        if not folder.is_dir() or not first_names(folder, 1):
            raise SourceLostError(
                f"{folder} no longer exists or is empty. Finished work is stored: restore the "
                "folder and rerun the same command to resume."
            )


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


def folders_and_files(
    folder: Path, quality: Quality, hidden_files: bool = False
) -> tuple[list[FileEntry], list[FileEntry]]:
    """The folders and the files directly in `folder`, each sorted by name.

    Junk, hidden and undecodable names are left out and counted in `quality`.

    Raises:
        UserError: The folder cannot be listed. Skipping it would drop its images silently.
    """
    folders: list[FileEntry] = []
    files: list[FileEntry] = []
    for entry in scan_folder(folder):
        if is_listable(entry.name, f"{folder.name}/", quality, hidden_files):
            (folders if is_folder(entry) else files).append(entry)
    return folders, files


def _real_path(folder: Path) -> str:
    return str(folder) if isinstance(folder, ObjectPath) else os.path.realpath(folder)


def image_paths(root: Path, quality: Quality, hidden_files: bool = False) -> Iterator[str]:
    """Paths of all images below `root`, relative to it with forward slashes, in sorted order.

    Links to folders are followed unless the target contains the link, so that loops end.

    Raises:
        UserError: A folder cannot be listed.
    """
    pending = [("", frozenset((_real_path(root),)))]
    while pending:
        relative, ancestors = pending.pop()
        folders, files = folders_and_files(root / relative, quality, hidden_files)
        for file in files:
            if is_image(file.name):
                yield f"{relative}{file.name}"
            else:
                quality.note_other_file(f"{relative}{file.name}")
        for folder in reversed(folders):
            real = _real_path(root / relative / folder.name)
            if real not in ancestors:
                pending.append((f"{relative}{folder.name}/", ancestors | {real}))
