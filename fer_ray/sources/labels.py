"""The label of an image, and labels from the names of folders."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from fer_ray.settings.datasets import DATASETS, DatasetName
from fer_ray.settings.label_codes import LabelCodes
from fer_ray.sources.emotion_words import parse_code, parse_word, suggest_emotion
from fer_ray.sources.quality import Quality
from fer_ray.vocabulary import EMOTIONS

MAX_FOLDERS = 50  # names of folders in a record
MAJORITY = 0.9  # of names, from which the others are exceptions
_CODE = re.compile(r"\d")  # name of a folder that may be a code


class Label(NamedTuple):
    """Subject, emotion, class code and attributes of one image; None where unknown.

    `part` is that of the official split, where the image's path does not name it.
    """

    subject: str | None = None
    emotion: str | None = None
    code: int | None = None
    attributes: tuple[tuple[str, str], ...] | None = None  # further columns, and their values
    part: str | None = None


def make_label(code: int | None, subject: str | None = None) -> Label:
    """The label of a class code."""
    return Label(subject, None if code is None else EMOTIONS[code], code)


def add_unlisted(paths: Iterable[str], labels: dict[str, Label], quality: Quality) -> None:
    """Add images that the label files of a data set do not list, without labels."""
    for path in paths:
        if path not in labels:
            quality.note("unlisted_image", path)
            labels[path] = Label()


class NameParts(NamedTuple):
    """The parts of a file name in the naming scheme of a data set; None for missing ones.

    Attributes:
        subject: The person.
        session: The sequence or session of the person.
        frame: The number of the frame in its sequence.
        label: The label as it stands in the name.
        code: Its class code.
    """

    subject: str | None = None
    session: str | None = None
    frame: int | None = None
    label: str | None = None
    code: int | None = None


def parse_file_name(path: str, dataset: DatasetName | None) -> NameParts | None:
    """Parse the name of an image of a published data set, or None if it has another form."""
    spec = DATASETS[dataset] if dataset else None
    if spec is None or spec.file_name is None:
        return None
    match = re.fullmatch(spec.file_name, PurePosixPath(path).stem, re.IGNORECASE)
    if match is None:
        return None
    parts = match.groupdict()
    label, frame = parts.get("label"), parts.get("frame")
    word = None if label is None else spec.words.get(label.upper(), label)
    code = None if word is None else parse_word(word)
    return NameParts(
        parts.get("subject"), parts.get("session"), int(frame) if frame else None, label, code
    )


class FolderLabels:
    """Labels from the names of folders, and what each name was read as.

    The innermost folder that is named after an emotion counts. In some published data sets, the
    names of files contain the label or the subject; files with other names are unlabelled.

    Args:
        codes: Codes of folders that are named by numbers. None: such folders are not labels.
        dataset: Published data set whose file names are read.
    """

    def __init__(self, codes: LabelCodes | None = None, dataset: DatasetName | None = None) -> None:
        self._quality, self._codes, self._dataset = Quality(), codes, dataset
        self._images: Counter[tuple[str, int]] = Counter()  # by folder name and class code
        self._numbered: Counter[str] = Counter()  # unlabelled images by the number of their folder
        self._names_decide = dataset is not None and DATASETS[dataset].file_name is not None
        self.unlabelled = 0

    def __call__(self, path: str) -> Label:
        """The label of an image by its path; empty for an image outside all such folders."""
        found = parse_file_name(path, self._dataset)
        if found is None and self._names_decide:
            self.unlabelled += 1
            self._quality.note("other_name", path)
            return Label()
        parts = found or NameParts()
        if parts.label is not None and parts.code is not None:
            self._images[parts.label.upper(), parts.code] += 1
            return make_label(parts.code, parts.subject)
        named = [
            (name, code)
            for name in path.split("/")[-2::-1]
            if (code := self._parse(name)) is not None
        ]
        if not named:
            self._note_unlabelled(path)
            return Label(parts.subject)
        if len({code for _, code in named}) > 1:
            self._quality.note("nested_emotions", path)
        self._images[named[0]] += 1
        return make_label(named[0][1], parts.subject)

    def _parse(self, name: str) -> int | None:
        if name.isdigit():
            return parse_code(name, self._codes) if self._codes else None
        return parse_word(name)

    def _note_unlabelled(self, path: str) -> None:
        self.unlabelled += 1
        folder, slash, _ = path.rpartition("/")
        *outer, innermost = folder.split("/")
        if _CODE.fullmatch(innermost) and self._codes:
            self._quality.note_invalid_label(f"{folder}{slash}", self._codes)
            return
        if _CODE.fullmatch(innermost):
            self._numbered[innermost] += 1
        self._quality.note("no_emotion_folder", f"{folder}{slash}" if folder else path)
        for name in (*outer, innermost):
            if word := suggest_emotion(name):
                self._quality.note("near_emotion_folder", f"{name}/: {word}?")

    def add(self, other: "FolderLabels") -> None:
        """Add the counts of another part of the source."""
        self._quality.add(other._quality)
        self._images += other._images
        self._numbered += other._numbered
        self.unlabelled += other.unlabelled

    @property
    def codes_found(self) -> set[int]:
        """The class codes of the images so far."""
        return {code for _, code in self._images}

    @property
    def are_plausible(self) -> bool:
        """Whether the folders look like classes.

        If there is one class, and images outside its folders, its name may be another word: a
        folder `Joy` next to `Peter` and `Anna` is a person.
        """
        return len(self.codes_found) > 1 or (bool(self.codes_found) and not self.unlabelled)

    def are_used(self, required: bool, quality: Quality) -> bool:
        """Decide whether folders are labels, and report irregularities.

        Args:
            required: Whether the user chose folders as labels.
            quality: Counts images outside folders named after emotions, or labels not used.
        """
        self._note_numbered(quality)
        if required or self.are_plausible:
            quality.add(self._quality)
            return True
        for (name, _), count in self._images.items():
            quality.note("single_class", f"{name}/", count)
        quality.take(self._quality, "near_emotion_folder")
        return False

    def _note_numbered(self, quality: Quality) -> None:
        """Count images in folders that look like codes: nearly all, and under several numbers."""
        enough = self._numbered.total() >= MAJORITY * self.unlabelled
        if enough and len(self._numbered) > 1 and not (self._images or self._codes):
            for name, count in sorted(self._numbered.items()):
                quality.note("numbered_folder", f"{name}/", count)

    def records(self) -> list[dict[str, Any]]:
        """What folders were read as: `folder`, `emotion` and `images`, most images first."""
        return [
            {"folder": name, "emotion": EMOTIONS[code], "images": count}
            for (name, code), count in self._images.most_common(MAX_FOLDERS)
        ]

    def by_emotion(self) -> dict[str, int]:
        """Number of images of each class, in the order of `EMOTIONS`."""
        totals: Counter[int] = Counter()
        for (_, code), count in self._images.items():
            totals[code] += count
        return {EMOTIONS[code]: totals[code] for code in sorted(totals)}
