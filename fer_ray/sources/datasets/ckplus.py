"""The CK+ layout: sequences of frames, and a label file for some of them.

Layout and codes: Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR 2010 workshops.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fer_ray.sources.emotion_words import clean_text, is_missing, parse_emotion
from fer_ray.sources.image_files import folders_and_files, is_hidden, is_image, is_junk, scan_folder
from fer_ray.sources.quality import Quality
from fer_ray.storage.files import read_each

IMAGE_ROOTS = ("cohn-kanade-images", "source_images", "extended-cohn-kanade-images")
LABEL_ROOTS = ("emotion", "source_emotion", "emotion_labels")
MAX_FRAME_NUMBER = 2**31 - 1  # of the int32 column; larger numbers are timestamps
SEARCH_DEPTH = 3  # levels below the source in which the two roots are searched

Contents = dict[Path, bytes | OSError]  # of files, or why they cannot be read

_SUBJECT_NAME = re.compile(r"S\d+", re.IGNORECASE)
_FRAME_NAME = re.compile(r"(S\d+)_(\d+)_(\d+)", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d+)$")
_LABEL_NAME = re.compile(r"_(\d+)_emotion$", re.IGNORECASE)


@dataclass(frozen=True)
class Frame:
    """One image of a sequence."""

    image_id: str
    path: str  # relative to the source, with forward slashes
    number: int


@dataclass(frozen=True)
class Sequence:
    """One session of a subject."""

    subject: str
    session: str
    frames: tuple[Frame, ...]  # at least one, by number
    label: int | None  # class code


def is_subject(name: str) -> bool:
    """Return whether a folder name is that of a subject, such as S005."""
    return _SUBJECT_NAME.fullmatch(name) is not None


def find_roots(root: Path) -> tuple[Path, Path | None] | None:
    """Find the image folder and the label folder of a CK+ layout.

    The innermost folder is used, so `extended-cohn-kanade-images/cohn-kanade-images` and
    `Emotion_labels/Emotion` are found where the official zip files unpack them.

    Returns:
        Both folders, at or below `root`. The second is None if there are no labels; the result is
        None if `root` has no CK+ layout.
    """
    images = _find_innermost(root, IMAGE_ROOTS)
    if images is None and _has_subjects(root):
        images = root
    if images is None:
        return None
    labels = _find_innermost(root, LABEL_ROOTS) or _find_innermost(images.parent, LABEL_ROOTS)
    return images, labels


def _find_innermost(root: Path, names: tuple[str, ...]) -> Path | None:
    matches = [root] if root.name.lower() in names else []
    level = [root]
    for _ in range(SEARCH_DEPTH):
        level = [folder for parent in level for folder in _searchable_folders(parent)]
        matches += [folder for folder in level if folder.name.lower() in names]
    with_subjects = [folder for folder in matches if _has_subjects(folder)]
    return next(iter(with_subjects or matches[::-1]), None)


def _searchable_folders(parent: Path) -> list[Path]:
    """Folders in `parent` that may contain a root; subjects cannot."""
    return [
        parent / entry.name
        for entry in scan_folder(parent)
        if not (is_junk(entry.name) or is_hidden(entry.name) or is_subject(entry.name))
        and entry.is_dir()
    ]


def _has_subjects(folder: Path) -> bool:
    return any(is_subject(entry.name) and entry.is_dir() for entry in scan_folder(folder))


def read_sequences(
    root: Path, images: Path, labels: Path | None, quality: Quality
) -> list[Sequence]:
    """Read all sequences that have images, sorted by subject and session.

    Args:
        root: The source; paths are relative to it.
        images: Folder of images, SUBJECT/SESSION/*. Equal to `root` or below it.
        labels: Folder of label files, SUBJECT/SESSION/*.txt, or None.
        quality: Counts irregularities.

    Raises:
        UserError: A folder cannot be listed.
    """
    sequences = []
    if images != root:
        folders_and_files(root, quality)  # counts junk next to the two roots
    image_folders = _session_folders(images, quality)
    label_folders = _session_folders(labels, quality) if labels else {}
    contents = _read_label_files(label_folders.values())
    for key in sorted(image_folders):
        frames = _read_frames(root, *key, image_folders[key], quality)
        if frames:
            label = _read_label(label_folders.get(key), frames[-1], key, contents, quality)
            sequences.append(Sequence(*key, frames, label))
        else:
            quality.note("no_images", "/".join(key))
    for key in sorted(label_folders.keys() - image_folders.keys()):
        quality.note("no_images", "/".join(key))
    _note_session_gaps(sequences, quality)
    return sequences


def _session_folders(root: Path, quality: Quality) -> dict[tuple[str, str], Path]:
    """Folders SUBJECT/SESSION below `root`, by subject and session."""
    folders = {}
    for subject in folders_and_files(root, quality)[0]:
        for session in folders_and_files(root / subject.name, quality)[0]:
            folders[subject.name, session.name] = root / subject.name / session.name
    return folders


def _read_frames(
    root: Path, subject: str, session: str, folder: Path, quality: Quality
) -> tuple[Frame, ...]:
    frames: dict[int, Frame] = {}
    for file in folders_and_files(folder, quality)[1]:
        path = folder / file.name
        relative = path.relative_to(root).as_posix()
        number = _LAST_NUMBER.search(path.stem)
        if not is_image(file.name):
            quality.note_other_file(relative)
        elif number is None or int(number[1]) > MAX_FRAME_NUMBER:
            quality.note("misnamed_image", relative)
        elif int(number[1]) in frames:
            quality.note("duplicate_frame", relative)
        else:
            image_id = _image_id(subject, session, path.stem, relative, quality)
            frames[int(number[1])] = Frame(image_id, relative, int(number[1]))
    numbers = sorted(frames)
    if numbers and numbers[-1] - numbers[0] >= len(numbers):
        quality.note("frame_gap", f"{subject}/{session}")
    if len(numbers) == 1:
        quality.note("single_frame", f"{subject}/{session}")
    return tuple(frames[number] for number in numbers)


def _image_id(subject: str, session: str, stem: str, relative: str, quality: Quality) -> str:
    parts = _FRAME_NAME.fullmatch(stem)
    if parts and (parts[1].upper(), parts[2]) == (subject.upper(), session):
        return stem
    if parts:
        quality.note("name_disagrees", relative)
    return f"{subject}_{session}_{stem}"


def _read_label_files(folders: Iterable[Path]) -> Contents:
    """The content of the label file in each folder, by path."""
    files = [_label_files(folder, Quality())[-1:] for folder in folders]
    paths = [path for last in files for path in last]
    return dict(zip(paths, read_each(paths), strict=True))


def _label_files(folder: Path, quality: Quality) -> list[Path]:
    entries = folders_and_files(folder, quality)[1]
    return [folder / file.name for file in entries if file.name.lower().endswith(".txt")]


def _read_label(
    folder: Path | None, last: Frame, key: tuple[str, str], contents: Contents, quality: Quality
) -> int | None:
    if folder is None:
        quality.note("no_label_folder", "/".join(key))
        return None
    files = _label_files(folder, quality)
    if not files:
        quality.note("empty_label_folder", "/".join(key))
        return None
    if len(files) > 1:
        quality.note("several_label_files", "/".join(key))
    path = files[-1]
    number = _LABEL_NAME.search(path.stem)
    if number and int(number[1]) != last.number:
        quality.note("label_not_last_frame", path.name)
    return _parse_label_file(path, contents[path], quality)


def _parse_label_file(path: Path, content: bytes | OSError, quality: Quality) -> int | None:
    if isinstance(content, OSError):
        quality.note("unreadable_label", f"{path.name}: {content.strerror}")
        return None
    text = clean_text(content.decode("utf-8-sig", errors="replace"))
    if is_missing(text):
        quality.note("empty_label_file", path.name)
        return None
    label = parse_emotion(text)
    if label is None:
        quality.note("invalid_label", f"{path.name}: {text[:40]!r}")
    return label


def _note_session_gaps(sequences: list[Sequence], quality: Quality) -> None:
    sessions: dict[str, list[int]] = defaultdict(list)
    for sequence in sequences:
        if sequence.session.isdigit():
            sessions[sequence.subject].append(int(sequence.session))
    for subject, numbers in sessions.items():
        if max(numbers) - min(numbers) >= len(numbers):
            quality.note("session_gap", subject)
