"""Where a CK+ tree has its images and its labels, whatever the folders around them are called."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fer_ray.sources.image_files import (
    FileEntry,
    is_folder,
    is_hidden,
    is_image,
    is_junk,
    scan_folder,
)

IMAGE_ROOTS = ("cohn-kanade-images", "source_images", "extended-cohn-kanade-images")
LABEL_ROOTS = ("emotion", "source_emotion", "emotion_labels")
SEARCH_DEPTH = 3  # levels below the source in which the two roots are searched
SAMPLED = 3  # subjects and sessions whose files are inspected

FRAME_NAME = re.compile(r"(S\d+)_(\d+)_(\d+)", re.IGNORECASE)
_SUBJECT_NAME = re.compile(r"S\d+", re.IGNORECASE)
_LABEL_NAME = re.compile(r"emotion", re.IGNORECASE)

Folders = dict[Path, list[str]]  # folders, and the subjects in those whose contents are known


def is_subject(name: str) -> bool:
    """Return whether a folder name is that of a subject, such as S005."""
    return _SUBJECT_NAME.fullmatch(name.strip()) is not None


def is_frame(name: str) -> bool:
    """Return whether a file name is that of an image of CK+, such as S005_001_00000011.png."""
    return is_image(name) and FRAME_NAME.match(name) is not None


def is_emotion_file(name: str) -> bool:
    """Return whether a file name is that of a label, such as S005_001_00000011_emotion.txt."""
    return name.lower().endswith(".txt") and _LABEL_NAME.search(name) is not None


def find_roots(root: Path) -> tuple[Path, Path] | None:
    """Find the image folder and the label folder of a CK+ layout.

    Folders with the official names come first, and of these the innermost, so
    `extended-cohn-kanade-images/cohn-kanade-images` and `Emotion_labels/Emotion` are found where
    the official zip files unpack them. Folders with other names are recognised by the names of the
    files in them, if some of these files are labels.

    Returns:
        Both folders, at or below `root`. They are the same if labels are next to the images or
        missing. None if `root` has no CK+ layout.
    """
    folders = _search(root)
    images = _find_by_name(folders, IMAGE_ROOTS)
    if images is None and _has_numbered_sessions(root, folders[root]):
        images = root
    labels = _find_by_name(folders, LABEL_ROOTS)
    if labels is None and images is not None:
        labels = _find_by_name(_search(images.parent), LABEL_ROOTS)
    labels = labels or next(_find_by_files(folders, is_emotion_file), None)
    if images is None and labels is not None:
        images = next(_find_by_files(folders, is_frame), None)
    return None if images is None else (images, labels or images)


def _search(root: Path) -> Folders:
    """The folders that may be roots, the outermost first; subjects cannot."""
    folders: Folders = {}
    level = [root]
    for _ in range(SEARCH_DEPTH):
        below: list[Path] = []
        for parent in level:
            names = [entry.name for entry in scan_folder(parent) if _is_searchable(entry)]
            folders[parent] = [name for name in names if is_subject(name)]
            below += [parent / name for name in names if not is_subject(name)]
        level = below
    return folders | {folder: [] for folder in level}


def _is_searchable(entry: FileEntry) -> bool:
    return not (is_junk(entry.name) or is_hidden(entry.name)) and is_folder(entry)


def _find_by_name(folders: Folders, names: tuple[str, ...]) -> Path | None:
    matches = [folder for folder in folders if folder.name.strip().lower() in names]
    with_subjects = [folder for folder in matches if _has_subjects(folder)]
    return next(iter(with_subjects or matches[::-1]), None)


def _has_subjects(folder: Path) -> bool:
    return any(is_subject(entry.name) and is_folder(entry) for entry in scan_folder(folder))


def _has_numbered_sessions(root: Path, subjects: list[str]) -> bool:
    """Whether subjects have sessions as in CK+; folders such as S01/happy are something else."""
    entries = (entry for subject in subjects for entry in scan_folder(root / subject))
    return any(is_frame(entry.name) or _is_session(entry) for entry in entries)


def _is_session(entry: FileEntry) -> bool:
    return entry.name.strip().isdigit() and is_folder(entry)


def _find_by_files(folders: Folders, is_wanted: Callable[[str], bool]) -> Iterator[Path]:
    """Folders with SUBJECT/SESSION/FILE of a wanted name, from some subjects and sessions."""
    for folder, subjects in folders.items():
        for subject in subjects[:SAMPLED]:
            entries = scan_folder(folder / subject)
            sessions = [entry.name for entry in entries if _is_session(entry)][:SAMPLED]
            files = (file for name in sessions for file in scan_folder(folder / subject / name))
            if any(is_wanted(file.name) for file in files):
                yield folder
                break
