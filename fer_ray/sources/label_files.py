"""CSV files of labels: paths, emotions, and subjects if known."""

import csv
import io
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fer_ray.errors import UserError
from fer_ray.settings.label_codes import DEFAULT_CODES, LabelCodes
from fer_ray.sources.emotion_words import clean_text, is_missing, parse_code, parse_word
from fer_ray.sources.labels import Label, make_label
from fer_ray.sources.quality import Quality
from fer_ray.storage.paths import is_object

LABELS_FILE = "labels.csv"
# Accepted names of columns; the first four are named in messages. Other characters than letters and
# digits, and case, do not count: `Image Path` is `imagepath`.
PATH_COLUMNS = (
    *("path", "file", "filename", "image"),
    *("filepath", "imagepath", "imagefile", "imagename", "img", "imgpath", "imgname"),
    *("photo", "picture", "pic", "relativepath", "subdirectoryfilepath"),
)
LABEL_COLUMNS = (
    *("emotion", "label", "expression", "class"),
    *("emotions", "labels", "emotionlabel", "labelname", "classname", "classlabel"),
    *("emotionclass", "emotionname", "expressionlabel", "facialexpression", "category"),
)
SUBJECT_COLUMNS = (
    *("subject", "person", "participant", "identity"),
    *("subjectid", "personid", "participantid", "identityid", "subj", "actor", "userid"),
)
NAMED = 4  # names of a column in a message
DELIMITERS = ",;\t|"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_IGNORED = re.compile(r"[\W_]+")
_PREAMBLE = re.compile(r"\A[\r\n]*(sep=.\s*[\r\n]+)?", re.IGNORECASE)  # Excel may write `sep=;`


class LabelTableError(UserError):
    """A file is not a table of labels; it may be about something else."""


def read_label_file(
    file: Path, quality: Quality, require_labels: bool = True, codes: LabelCodes | None = None
) -> dict[str, Label]:
    """Read a CSV file of labels.

    Args:
        file: CSV file. Paths in it are relative to its folder, and links out of that folder are
            not followed.
        quality: Counts invalid, duplicate and missing entries.
        require_labels: Whether a file without a label column is an error.
        codes: Codes of numeric labels. None: those of CK+, counted in `quality`.

    Returns:
        The label of each image by its path, in the order of the file.

    Raises:
        LabelTableError: The file has no path or label column.
        UserError: The file cannot be read, or lists only files outside its folder.
    """
    folder = None if is_object(file) else file.parent
    return parse_label_file(_read(file), str(file), quality, require_labels, folder, codes)


def is_label_file(file: Path) -> bool:
    """Return whether a CSV file has a path and a label column.

    Raises:
        UserError: The file cannot be read.
    """
    reader = _open_table(_read(file), str(file))
    columns = _columns(reader)
    return all(any(name in columns for name in names) for names in (PATH_COLUMNS, LABEL_COLUMNS))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise _unreadable(str(file), problem) from None


def parse_label_file(
    content: bytes,
    name: str,
    quality: Quality,
    require_labels: bool = True,
    root: Path | None = None,
    codes: LabelCodes | None = None,
) -> dict[str, Label]:
    """Parse the content of a CSV file of labels.

    Args:
        content: UTF-8, with or without a byte order mark, or UTF-16 with one. Separated by commas,
            semicolons, tabs or vertical bars.
        name: Name of the file in messages.
        quality: Counts invalid, duplicate and missing entries.
        require_labels: Whether a file without a label column is an error.
        root: Folder of the file, to check where links lead. None: paths are checked by name only.
        codes: Codes of numeric labels. None: those of CK+, counted in `quality`.

    Returns:
        The label of each image by its path, in the order of the file.

    Raises:
        LabelTableError: The content has no path or label column.
        UserError: The content is not CSV, or lists only files outside the folder of the file.
    """
    try:
        records = list(_records(_open_table(content, name), name, require_labels))
    except (UnicodeDecodeError, csv.Error) as problem:
        raise _unreadable(name, problem) from None
    labels: dict[str, Label] = {}
    for number, record in enumerate(records, start=2):
        path = relative_path(record.path, root)
        if not record.path:
            quality.note("missing_path", f"line {number}")
        elif path is None:
            quality.note("path_outside", f"line {number}: {record.path}")
        elif path not in labels:
            code = _parse_label(record.label, f"line {number}: {path}", codes, quality)
            label = make_label(code, record.subject)
            labels[path] = label._replace(attributes=record.attributes)
        elif _parse_label(record.label, "", codes, Quality()) in (None, labels[path].code):
            quality.note("duplicate_path", f"line {number}: {path}")
        else:
            quality.note("conflicting_rows", f"line {number}: {path}: {record.label}")
    if records and not labels:
        raise UserError(
            f"{name} lists no file in its own folder or below, and paths that lead out of that "
            "folder are not followed. Move it to the folder that contains the images, or pass the "
            "images themselves."
        )
    return labels


class _Record(NamedTuple):
    """Cells of one line; `label` is None if the file has no label column."""

    path: str
    label: str | None
    subject: str | None
    attributes: tuple[tuple[str, str], ...] | None


def _open_table(content: bytes, name: str) -> "csv.DictReader[str]":
    """A reader of the lines below the header, separated as the header is."""
    encoding = "utf-16" if content.startswith(UTF16_MARKS) else "utf-8-sig"
    try:
        text = _PREAMBLE.sub("", content.decode(encoding), count=1)
    except UnicodeDecodeError as problem:
        raise _unreadable(name, problem) from None
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=lambda mark: _known_columns(header, mark))
    return csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)


def _known_columns(header: str, delimiter: str) -> int:
    names = {_IGNORED.sub("", cell.lower()) for cell in header.split(delimiter)}
    accepted = (PATH_COLUMNS, LABEL_COLUMNS, SUBJECT_COLUMNS)
    return sum(not names.isdisjoint(columns) for columns in accepted)


def _columns(reader: "csv.DictReader[str]") -> dict[str, str]:
    """The columns by their names in letters and digits; of equal ones the first."""
    columns: dict[str, str] = {}
    for column in reader.fieldnames or ():
        columns.setdefault(_IGNORED.sub("", (column or "").lower()), column)
    return columns


def _records(reader: "csv.DictReader[str]", name: str, require_labels: bool) -> Iterator[_Record]:
    columns = _columns(reader)
    path = _find_column(name, reader, columns, PATH_COLUMNS)
    label = subject = None
    if require_labels or not columns.keys().isdisjoint(LABEL_COLUMNS):
        label = _find_column(name, reader, columns, LABEL_COLUMNS)
    if not columns.keys().isdisjoint(SUBJECT_COLUMNS):
        subject = _find_column(name, reader, columns, SUBJECT_COLUMNS)
    further = [name for name in columns.values() if name not in (path, label, subject)]
    for row in reader:
        yield _Record(
            (row[path] or "").strip(),
            None if label is None else clean_text(row[label] or ""),
            None if subject is None else _parse_subject(row[subject] or ""),
            _attributes(row, further),
        )


def _attributes(row: dict[str, str], columns: list[str]) -> tuple[tuple[str, str], ...] | None:
    """The columns that have a value, with it; None if there are none."""
    values = ((name.strip(), clean_text(row[name] or "")) for name in columns if name)
    return tuple(pair for pair in values if all(pair) and not is_missing(pair[1])) or None


def _find_column(
    name: str, reader: "csv.DictReader[str]", columns: dict[str, str], accepted: tuple[str, ...]
) -> str:
    for column in accepted:
        if column in columns:
            return columns[column]
    header = ", ".join(column.strip() for column in reader.fieldnames or ()) or "no columns"
    if "pixels" in columns:
        raise LabelTableError(
            f"{name} contains images in a column of pixels, which are read only from a disk. Copy "
            "it to a disk, and pass it as --data."
        )
    advice = "Rename a column"
    if name.endswith(LABELS_FILE):
        advice += ", or pass --layout folders if the names of folders are the labels"
    raise LabelTableError(
        f"{name} has no column {' or '.join(accepted[:NAMED])}. Its header has: {header}. {advice}."
    )


def _parse_subject(text: str) -> str | None:
    subject = clean_text(text)
    return None if is_missing(subject) else subject


def _parse_label(
    text: str | None, where: str, codes: LabelCodes | None, quality: Quality
) -> int | None:
    if text is None:
        return None
    if is_missing(text):
        quality.note("no_label", where)
        return None
    code = parse_word(text)
    if code is None:
        code = parse_code(text, codes or DEFAULT_CODES)
        if code is not None and codes is None:
            quality.note("assumed_codes", f"{where}: {text}")
    if code is None:
        quality.note("invalid_label", f"{where}: {text[:40]!r}")
    return code


def relative_path(path: str, root: Path | None) -> str | None:
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
