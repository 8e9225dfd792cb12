"""The CK+ layout: sequences of frames, and a label file for some of them.

Layout and codes: Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR 2010 workshops.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fer_ray.sources.datasets.ckplus_files import SequenceFiles, files_by_sequence, sequence_key
from fer_ray.sources.datasets.ckplus_roots import FRAME_NAME, is_emotion_file
from fer_ray.sources.emotion_words import clean_text, is_missing, parse_emotion
from fer_ray.sources.image_files import folders_and_files, is_image
from fer_ray.sources.label_table import decode_text
from fer_ray.sources.quality import Quality
from fer_ray.storage.files import read_each

MAX_FRAME_NUMBER = 2**31 - 1  # of the int32 column; larger numbers are timestamps

Contents = dict[Path, bytes | OSError]  # of files, or why they cannot be read

_LAST_NUMBER = re.compile(r"(\d+)$")
_LABEL_NAME = re.compile(r"_(\d+)_emotion$", re.IGNORECASE)
# Files of CK+ that are next to the labels if all its archives are unpacked into one folder.
_OTHER_ANNOTATION = re.compile(r"_(facs|landmarks)$", re.IGNORECASE)


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


def read_sequences(root: Path, images: Path, labels: Path, quality: Quality) -> list[Sequence]:
    """Read all sequences that have images, sorted by subject and session.

    Args:
        root: The source; paths are relative to it.
        images: Folder of images, SUBJECT/SESSION/*. Equal to `root` or below it.
        labels: Folder of label files, SUBJECT/SESSION/*.txt. It may be that of the images.
        quality: Counts irregularities.

    Raises:
        UserError: A folder cannot be listed.
    """
    if images != root:
        folders_and_files(root, quality)  # counts junk next to the two roots
    image_files = files_by_sequence(images, root, quality)
    # Labels next to the images are files of the same folders, whose junk is counted already.
    label_files = files_by_sequence(labels, labels, quality if labels != images else Quality())
    chosen = {key: _emotion_files(found.files) for key, found in label_files.items()}
    contents = _read_contents(files[-1] for files in chosen.values() if files)
    sequences = []
    for key in sorted(image_files, key=lambda key: image_files[key].order):
        found = image_files[key]
        if frames := _read_frames(root, found, quality):
            files = chosen.get(key)
            if labels == images and not files:
                files = None
            label = _read_label(files, frames[-1], found.name, contents, quality)
            sequences.append(Sequence(found.subject, found.session, frames, label))
        else:
            quality.note("no_images", found.name)
    for key in sorted(label_files.keys() - image_files.keys()):
        quality.note("no_images", label_files[key].name)
    _note_session_gaps(sequences, quality)
    return sequences


def _read_frames(root: Path, found: SequenceFiles, quality: Quality) -> tuple[Frame, ...]:
    frames: dict[int, Frame] = {}
    for path in found.files:
        relative = path.relative_to(root).as_posix()
        number = _LAST_NUMBER.search(path.stem)
        if not is_image(path.name):
            if not is_emotion_file(path.name):
                quality.note_other_file(relative)
        elif number is None or int(number[1]) > MAX_FRAME_NUMBER:
            quality.note("misnamed_image", relative)
        elif int(number[1]) in frames:
            quality.note("duplicate_frame", relative)
        else:
            image_id = _image_id(found, path.stem, relative, quality)
            frames[int(number[1])] = Frame(image_id, relative, int(number[1]))
    numbers = sorted(frames)
    if numbers and numbers[-1] - numbers[0] >= len(numbers):
        quality.note("frame_gap", found.name)
    if len(numbers) == 1:
        quality.note("single_frame", found.name)
    return tuple(frames[number] for number in numbers)


def _image_id(found: SequenceFiles, stem: str, relative: str, quality: Quality) -> str:
    parts = FRAME_NAME.fullmatch(stem)
    if parts and sequence_key(parts[1], parts[2]) == sequence_key(found.subject, found.session):
        return stem
    if parts:
        quality.note("name_disagrees", relative)
    return f"{found.subject}_{found.session}_{stem}"


def _emotion_files(files: list[Path]) -> list[Path]:
    """Files that may be the label of a sequence: those named so, otherwise other text files."""
    texts = [file for file in files if file.name.lower().endswith(".txt")]
    named = [file for file in texts if is_emotion_file(file.name)]
    return named or [file for file in texts if not _OTHER_ANNOTATION.search(file.stem)]


def _read_contents(files: Iterable[Path]) -> Contents:
    paths = [*files]
    return dict(zip(paths, read_each(paths), strict=True))


def _read_label(
    files: list[Path] | None, last: Frame, name: str, contents: Contents, quality: Quality
) -> int | None:
    if files is None:
        quality.note("no_label_folder", name)
        return None
    if not files:
        quality.note("empty_label_folder", name)
        return None
    if len(files) > 1:
        quality.note("several_label_files", name)
    path = files[-1]
    number = _LABEL_NAME.search(path.stem)
    if number and int(number[1]) != last.number:
        quality.note("label_not_last_frame", path.name)
    return _parse_label_file(path, contents[path], quality)


def _parse_label_file(path: Path, content: bytes | OSError, quality: Quality) -> int | None:
    if isinstance(content, OSError):
        quality.note("unreadable_label", f"{path.name}: {content.strerror}")
        return None
    text = clean_text(decode_text(content, "replace"))
    if is_missing(text):
        quality.note("empty_label_file", path.name)
        return None
    label = parse_emotion(text)
    if label is None:
        quality.note_invalid_label(f"{path.name}: {text[:40]!r}", None)
    return label


def _note_session_gaps(sequences: list[Sequence], quality: Quality) -> None:
    sessions: dict[str, list[int]] = defaultdict(list)
    for sequence in sequences:
        if sequence.session.isdigit():
            sessions[sequence.subject].append(int(sequence.session))
    for subject, numbers in sessions.items():
        if max(numbers) - min(numbers) >= len(numbers):
            quality.note("session_gap", subject)
