"""The CK+ tree as it circulates: sequences of frames, and a label file for some of them.

Layout and codes: Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR 2010 workshops.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from fer_ray.sources.quality import Quality
from fer_ray.sources.walk import entries, is_image, is_junk, listed
from fer_ray.vocabulary import EMOTIONS

IMAGE_ROOTS = ("cohn-kanade-images", "source_images", "extended-cohn-kanade-images")
LABEL_ROOTS = ("emotion", "source_emotion", "emotion_labels")
MOST_FRAME = 2**31 - 1  # that a row can tell: larger numbers are times, not counts
SEARCH_DEPTH = 3  # folders below the given one in which the two roots are looked for

_SUBJECT = re.compile(r"S\d+", re.IGNORECASE)
_FRAME_NAME = re.compile(r"(S\d+)_(\d+)_(\d+)", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d+)$")
_LABEL_NAME = re.compile(r"_(\d+)_emotion$", re.IGNORECASE)


@dataclass(frozen=True)
class Frame:
    """One image of a sequence."""

    image_id: str
    path: str  # relative to the source root, forward slashes
    number: int


@dataclass(frozen=True)
class Sequence:
    """One session of a subject: frames in numeric order, and the label if there is one."""

    subject: str
    session: str
    frames: tuple[Frame, ...]  # at least one
    label: int | None


def find_roots(root: Path) -> tuple[Path, Path | None] | None:
    """The image and label folders of a CK+ tree at or below `root`, or None if it is none.

    The innermost folder counts, so `extended-cohn-kanade-images/cohn-kanade-images` and
    `Emotion_labels/Emotion` are found as the official zip files unpack them.
    """
    images = _innermost(root, IMAGE_ROOTS)
    if images is None and _holds_subjects(root):
        images = root
    if images is None:
        return None
    labels = _innermost(root, LABEL_ROOTS) or _innermost(images.parent, LABEL_ROOTS)
    return images, labels


def _innermost(root: Path, names: tuple[str, ...]) -> Path | None:
    found = [root] if root.name.lower() in names else []
    level = [root]
    for _ in range(SEARCH_DEPTH):
        level = [folder for parent in level for folder in _plain_folders(parent)]
        found += [folder for folder in level if folder.name.lower() in names]
    with_subjects = [folder for folder in found if _holds_subjects(folder)]
    return next(iter(with_subjects or found[::-1]), None)


def _plain_folders(parent: Path) -> list[Path]:
    """Folders in `parent` that may hold a root: subjects are not entered."""
    return [
        Path(entry.path)
        for entry in listed(parent)
        if not is_junk(entry.name) and not _SUBJECT.fullmatch(entry.name) and entry.is_dir()
    ]


def _holds_subjects(folder: Path) -> bool:
    return any(_SUBJECT.fullmatch(entry.name) and entry.is_dir() for entry in listed(folder))


def read_sequences(
    root: Path, images: Path, labels: Path | None, quality: Quality
) -> list[Sequence]:
    """All sequences that have images, by subject and session.

    Args:
        root: Source root: paths are given relative to it.
        images: Folder of subjects; may lie outside `root` only if it equals it.
        labels: Folder of label files, by subject and session, or None.
        quality: Where oddities are counted.
    """
    sequences = []
    if images != root:
        entries(root, quality)  # counts what systems left beside the two roots
    image_folders = _sessions(images, quality)
    label_folders = _sessions(labels, quality) if labels else {}
    for key in sorted(image_folders):
        frames = _read_frames(root, *key, image_folders[key], quality)
        if frames:
            label = _read_label(label_folders.get(key), frames[-1], key, quality)
            sequences.append(Sequence(*key, frames, label))
        else:
            quality.note("no_images", "/".join(key))
    for key in sorted(label_folders.keys() - image_folders.keys()):
        quality.note("no_images", "/".join(key))
    _note_session_gaps(sequences, quality)
    return sequences


def _sessions(root: Path, quality: Quality) -> dict[tuple[str, str], Path]:
    """Folders `root/SUBJECT/SESSION` by subject and session."""
    folders = {}
    for subject in entries(root, quality)[0]:
        for session in entries(Path(subject.path), quality)[0]:
            folders[subject.name, session.name] = Path(session.path)
    return folders


def _read_frames(
    root: Path, subject: str, session: str, folder: Path, quality: Quality
) -> tuple[Frame, ...]:
    frames: dict[int, Frame] = {}
    for file in entries(folder, quality)[1]:
        path = Path(file.path)
        relative = path.relative_to(root).as_posix()
        number = _LAST_NUMBER.search(path.stem)
        if not is_image(file.name):
            quality.note("not_an_image", relative)
        elif number is None or int(number[1]) > MOST_FRAME:
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
    named = _FRAME_NAME.fullmatch(stem)
    if named and (named[1].upper(), named[2]) == (subject.upper(), session):
        return stem
    if named:
        quality.note("name_disagrees", relative)
    return f"{subject}_{session}_{stem}"


def _read_label(
    folder: Path | None, last: Frame, key: tuple[str, str], quality: Quality
) -> int | None:
    if folder is None:
        quality.note("no_label_folder", "/".join(key))
        return None
    files = [file for file in entries(folder, quality)[1] if file.name.lower().endswith(".txt")]
    if not files:
        quality.note("empty_label_folder", "/".join(key))
        return None
    if len(files) > 1:
        quality.note("several_label_files", "/".join(key))
    path = Path(files[-1].path)
    named = _LABEL_NAME.search(path.stem)
    if named and int(named[1]) != last.number:
        quality.note("label_not_last_frame", path.name)
    try:
        text = path.read_bytes().decode("utf-8", errors="replace").strip()
    except OSError as problem:
        quality.note("unreadable_label", f"{path.name}: {problem.strerror}")
        return None
    label = parse_code(text)
    if label is None:
        quality.note("invalid_label", f"{path.name}: {text[:40]!r}")
    return label


def parse_code(text: str) -> int | None:
    """The class code that a label text such as `   3.0000000e+00` holds; None if it holds none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value in range(len(EMOTIONS)) else None


def _note_session_gaps(sequences: list[Sequence], quality: Quality) -> None:
    sessions: dict[str, list[int]] = defaultdict(list)
    for sequence in sequences:
        if sequence.session.isdigit():
            sessions[sequence.subject].append(int(sequence.session))
    for subject, numbers in sessions.items():
        if max(numbers) - min(numbers) >= len(numbers):
            quality.note("session_gap", subject)
