"""Emotion labels: codes, names, folder names, and CSV files of labels."""

import csv
import io
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fer_ray.errors import UserError
from fer_ray.sources.quality import Quality
from fer_ray.storage.paths import is_object
from fer_ray.vocabulary import EMOTIONS

LABELS_FILE = "labels.csv"

# Names that other data sets use for the same eight classes.
SYNONYMS = {
    "angry": "anger",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sad": "sadness",
    "surprised": "surprise",
}
PATH_COLUMNS = ("path", "file", "filename", "image")
LABEL_COLUMNS = ("emotion", "label", "expression", "class")
SUBJECT_COLUMNS = ("subject", "person", "participant", "identity")


class Label(NamedTuple):
    """Subject, emotion and class code of one image; None where unknown."""

    subject: str | None = None
    emotion: str | None = None
    code: int | None = None


def make_label(code: int | None, subject: str | None = None) -> Label:
    """The label of a class code."""
    return Label(subject, None if code is None else EMOTIONS[code], code)


def parse_code(text: str) -> int | None:
    """The class code in a text such as `   3.0000000e+00`, or None if it is not a valid code."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value in range(len(EMOTIONS)) else None


def parse_emotion(text: str) -> int | None:
    """The class code of a name (`happy`, `Happiness`) or a code (`5`), or None if it is neither."""
    name = text.strip().lower()
    name = SYNONYMS.get(name, name)
    return EMOTIONS.index(name) if name in EMOTIONS else parse_code(name)


def folder_label(path: str) -> int | None:
    """The class code of the innermost folder of `path` that is named after an emotion, or None."""
    names = reversed(path.split("/")[:-1])
    codes = (parse_emotion(name) for name in names if not name.isdigit())
    return next((code for code in codes if code is not None), None)


def read_label_file(file: Path, quality: Quality, require_labels: bool = True) -> dict[str, Label]:
    """Read a CSV file of labels.

    Args:
        file: CSV file. Paths in it are relative to its folder, and links out of that folder are
            not followed.
        quality: Counts invalid, duplicate and missing entries.
        require_labels: Whether a file without a label column is an error.

    Returns:
        The label of each image by its path, in the order of the file.

    Raises:
        UserError: The file cannot be read, has no path or label column, or lists only files outside
            its folder.
    """
    try:
        content = file.read_bytes()
    except OSError as problem:
        raise _unreadable(str(file), problem) from None
    folder = None if is_object(file) else file.parent
    return parse_label_file(content, str(file), quality, require_labels, folder)


def parse_label_file(
    content: bytes,
    name: str,
    quality: Quality,
    require_labels: bool = True,
    root: Path | None = None,
) -> dict[str, Label]:
    """Parse the content of a CSV file of labels.

    Args:
        content: UTF-8, with or without a byte order mark.
        name: Name of the file in messages.
        quality: Counts invalid, duplicate and missing entries.
        require_labels: Whether a file without a label column is an error.
        root: Folder of the file, to check where links lead. None: paths are checked by name only.

    Returns:
        The label of each image by its path, in the order of the file.

    Raises:
        UserError: The content is not CSV, has no path or label column, or lists only files outside
            the folder of the file.
    """
    try:
        text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
        records = list(_records(csv.DictReader(text), name, require_labels))
    except (UnicodeDecodeError, csv.Error) as problem:
        raise _unreadable(name, problem) from None
    labels: dict[str, Label] = {}
    for number, record in enumerate(records, start=2):
        path = _relative_path(record.path, root)
        if not record.path:
            quality.note("missing_path", f"line {number}")
        elif path is None:
            quality.note("path_outside", f"line {number}: {record.path}")
        elif path in labels:
            quality.note("duplicate_path", f"line {number}: {path}")
        else:
            code = _parse_label(record.label, path, number, quality)
            labels[path] = make_label(code, record.subject or None)
    if records and not labels:
        raise UserError(
            f"{name} lists no file in its own folder or below, and paths that lead out of that "
            "folder are not followed. Move it to the folder that contains the images, or pass the "
            "images themselves."
        )
    return labels


class _Record(NamedTuple):
    """Cells of one line, stripped; `label` is None if the file has no label column."""

    path: str
    label: str | None
    subject: str


def _records(reader: "csv.DictReader[str]", name: str, require_labels: bool) -> Iterator[_Record]:
    columns = {column.strip().lower(): column for column in reader.fieldnames or ()}
    path = _find_column(name, columns, PATH_COLUMNS)
    label = subject = None
    if require_labels or not columns.keys().isdisjoint(LABEL_COLUMNS):
        label = _find_column(name, columns, LABEL_COLUMNS)
    if not columns.keys().isdisjoint(SUBJECT_COLUMNS):
        subject = _find_column(name, columns, SUBJECT_COLUMNS)
    for row in reader:
        yield _Record(
            (row[path] or "").strip(),
            None if label is None else (row[label] or "").strip(),
            "" if subject is None else (row[subject] or "").strip(),
        )


def _find_column(name: str, columns: dict[str, str], accepted: tuple[str, ...]) -> str:
    for column in accepted:
        if column in columns:
            return columns[column]
    header = ", ".join(columns) or "no columns"
    raise UserError(
        f"{name} has no column {' or '.join(accepted)}. Its header has: {header}. Rename a column."
    )


def _parse_label(text: str | None, path: str, line: int, quality: Quality) -> int | None:
    if text is None:
        return None
    code = parse_emotion(text)
    if not text:
        quality.note("no_label", f"line {line}: {path}")
    elif code is None:
        quality.note("invalid_label", f"line {line}: {text[:40]!r}")
    return code


def _relative_path(path: str, root: Path | None) -> str | None:
    """`path` in its shortest form, or None if it leads out of `root` by name or through a link."""
    if root is not None:
        path = os.path.relpath(root / path, root)
    relative = posixpath.normpath(path)
    if relative.startswith("/") or relative == ".." or relative.startswith("../") or "\0" in path:
        return None
    if root is not None:
        target = Path(os.path.realpath(root / relative))
        if not target.is_relative_to(os.path.realpath(root)):
            return None
    return relative


def _unreadable(name: str, problem: Exception) -> UserError:
    return UserError(f"{name} cannot be read: {problem}. Use a readable CSV file in UTF-8.")
