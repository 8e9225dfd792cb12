"""Walking a folder: images on one side, junk and other files counted on the other."""

import os
from collections.abc import Iterator
from pathlib import Path

from fer_ray.errors import UserError
from fer_ray.sources.quality import Quality

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm")
)
JUNK_NAMES = frozenset(
    (
        *(".ds_store", "__macosx", ".spotlight-v100", ".trashes"),
        *("thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("lost+found", ".snapshot", ".gitkeep"),
    )
)


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is left behind by a system, not by a person."""
    return name.lower() in JUNK_NAMES or name.startswith("._")


def is_image(name: str) -> bool:
    """Whether the name ends as an image's does, in either case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (ten times as fast)


def entries(
    folder: Path, quality: Quality
) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """Folders and files directly in `folder`, sorted by name; what is left out is counted.

    Raises:
        UserError: The folder cannot be listed: what is in it would be missing without a word.
    """
    folders: list[os.DirEntry[str]] = []
    files: list[os.DirEntry[str]] = []
    for entry in listed(folder):
        if is_junk(entry.name):
            quality.note("junk_file", f"{folder.name}/{in_utf8(entry.name)}")
        elif entry.name != in_utf8(entry.name):
            quality.note("undecodable_name", f"{folder.name}/{in_utf8(entry.name)}")
        else:
            (folders if entry.is_dir() else files).append(entry)
    return folders, files


def listed(folder: Path) -> list[os.DirEntry[str]]:
    """What is directly in `folder`, sorted by name.

    Raises:
        UserError: The folder cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as problem:
        raise UserError(
            f"The folder {folder} cannot be listed: {problem.strerror}. Mend that, or move it out "
            "of the source."
        ) from None


def in_utf8(name: str) -> str:
    """A file's name as it can be written; bytes that are no UTF-8 as their hexadecimal codes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def image_paths(root: Path, quality: Quality) -> Iterator[str]:
    """Paths of all images below `root`, relative to it with forward slashes, in sorted order.

    Links to folders are not followed into folders that hold them, so that a loop ends.
    """
    pending = [("", frozenset((os.path.realpath(root),)))]
    while pending:
        relative, above = pending.pop()
        folders, files = entries(root / relative, quality)
        for file in files:
            if is_image(file.name):
                yield f"{relative}{file.name}"
            else:
                quality.note("not_an_image", f"{relative}{file.name}")
        for folder in reversed(folders):
            real = os.path.realpath(folder.path)
            if real not in above:
                pending.append((f"{relative}{folder.name}/", above | {real}))
