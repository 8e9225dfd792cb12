"""The table of a CSV file of labels: its delimiter, its columns and its records."""

import csv
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

from fer_ray.errors import UserError, error_text
from fer_ray.sources.emotion_words import clean_text, is_missing
from fer_ray.sources.quality import Quality

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
_NEGATIVE = re.compile(r"-\d+([.,]0*)?")  # in place of a subject: a missing value
_IGNORED = re.compile(r"[\W_]+")
_PREAMBLE = re.compile(r"\A[\r\n]*(sep=.\s*[\r\n]+)?", re.IGNORECASE)  # Excel may write `sep=;`


class LabelTableError(UserError):
    """A file is not a table of labels; it may be about something else."""


class LabelRecord(NamedTuple):
    """Cells of one line; `label` is None if the file has no label column."""

    path: str
    label: str | None
    subject: str | None
    attributes: tuple[tuple[str, str], ...] | None


def decode_text(content: bytes, errors: str = "strict") -> str:
    """Decode UTF-8, with or without a byte order mark, or UTF-16 with one."""
    encoding = "utf-16" if content.startswith(UTF16_MARKS) else "utf-8-sig"
    return content.decode(encoding, errors)


def _open_table(content: bytes, name: str) -> "csv.DictReader[str]":
    """A reader of the lines below the header, separated as the header is."""
    try:
        text = _PREAMBLE.sub("", decode_text(content), count=1)
    except UnicodeDecodeError as problem:
        raise unreadable_table(name, problem) from None
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=lambda mark: _known_columns(header, mark))
    return csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)


def _known_columns(header: str, delimiter: str) -> int:
    names = {reduced_name(cell) for cell in header.split(delimiter)}
    accepted = (PATH_COLUMNS, LABEL_COLUMNS, SUBJECT_COLUMNS)
    return sum(not names.isdisjoint(columns) for columns in accepted)


def reduced_name(column: str | None) -> str:
    """The name of a column, reduced to letters and digits if it has any."""
    name = (column or "").strip().lower()
    return _IGNORED.sub("", name) or name


def _find_columns(reader: "csv.DictReader[str]") -> dict[str, str]:
    """The columns by their names, reduced to letters and digits; of equal names, the first."""
    columns: dict[str, str] = {}
    for column in reader.fieldnames or ():
        columns.setdefault(reduced_name(column), column)
    return columns


def has_label_columns(content: bytes, name: str) -> bool:
    """Return whether a table has a path and a label column."""
    columns = _find_columns(_open_table(content, name))
    return all(any(name in columns for name in names) for names in (PATH_COLUMNS, LABEL_COLUMNS))


def read_records(
    content: bytes, name: str, require_labels: bool, quality: Quality
) -> list[LabelRecord]:
    """Read the records of a table.

    Args:
        content: The file, in UTF-8, or UTF-16 with a byte order mark.
        name: Name of the file in messages.
        require_labels: Whether a table without a label column is an error.
        quality: Counts other columns that share a name, which are ignored.

    Raises:
        LabelTableError: The table has no path or label column.
        UserError: The content is not CSV, or two path, label or subject columns have the same name.
    """
    try:
        return list(_records(_open_table(content, name), name, require_labels, quality))
    except (UnicodeDecodeError, csv.Error) as problem:
        raise unreadable_table(name, problem) from None


def _records(
    reader: "csv.DictReader[str]", name: str, require_labels: bool, quality: Quality
) -> Iterator[LabelRecord]:
    columns = _find_columns(reader)
    path = _find_column(name, reader, columns, PATH_COLUMNS)
    label = subject = None
    if require_labels or not columns.keys().isdisjoint(LABEL_COLUMNS):
        label = _find_column(name, reader, columns, LABEL_COLUMNS)
    if not columns.keys().isdisjoint(SUBJECT_COLUMNS):
        subject = _find_column(name, reader, columns, SUBJECT_COLUMNS)
    further = []
    for reduced, column in columns.items():
        same = _same_columns(reader, reduced)
        if len(same) == 1 and column not in (path, label, subject):
            further.append(column)
        elif len(same) > 1 and reduced:
            quality.note("same_column", f"{name}: {' and '.join(same)}", len(same))
    for row in reader:
        yield LabelRecord(
            (row[path] or "").strip(),
            None if label is None else clean_text(row[label] or ""),
            None if subject is None else _parse_subject(row[subject] or ""),
            _attributes(row, further),
        )


def _attributes(row: dict[str, str], columns: list[str]) -> tuple[tuple[str, str], ...] | None:
    """The columns that have a value, with their values; None if there are none."""
    values = ((name.strip(), clean_text(row[name] or "")) for name in columns if name)
    return tuple(pair for pair in values if all(pair) and not is_missing(pair[1])) or None


def _find_column(
    name: str, reader: "csv.DictReader[str]", columns: dict[str, str], accepted: tuple[str, ...]
) -> str:
    for column in accepted:
        if column in columns:
            _require_single(name, reader, column)
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


def _require_single(name: str, reader: "csv.DictReader[str]", reduced: str) -> None:
    """Check that only one column has this name; choosing among several would be a guess."""
    same = _same_columns(reader, reduced)
    if len(same) > 1:
        raise UserError(
            f"{name} has {len(same)} columns {' and '.join(same)}. Rename all but the one to use."
        )


def _same_columns(reader: "csv.DictReader[str]", reduced: str) -> list[str]:
    return [column for column in reader.fieldnames or () if reduced_name(column) == reduced]


def _parse_subject(text: str) -> str | None:
    subject = clean_text(text)
    return None if is_missing(subject) or _NEGATIVE.fullmatch(subject) else subject


def unreadable_table(name: str, problem: Exception) -> UserError:
    """The error of a file that cannot be read as a table."""
    return UserError(
        f"{name} cannot be read: {error_text(problem)}. Use a readable CSV file in UTF-8."
    )
