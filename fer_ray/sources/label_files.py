"""CSV files of labels: paths, emotions, and subjects if known."""

import os
import posixpath
from pathlib import Path

from fer_ray.errors import UserError
from fer_ray.settings.label_codes import DEFAULT_CODES, LabelCodes
from fer_ray.sources.emotion_words import is_missing, parse_code, parse_word, suggest_emotion
from fer_ray.sources.image_files import scan_folder
from fer_ray.sources.label_table import (
    LABELS_FILE,
    has_label_columns,
    read_records,
    unreadable_table,
)
from fer_ray.sources.labels import Label, make_label
from fer_ray.sources.quality import Quality
from fer_ray.storage.paths import is_object

MAX_HEADER_BYTES = 65_536


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


def reject_broken_link(folder: Path) -> None:
    """Refuse a `labels.csv` that links to a missing file, since its labels would be lost silently.

    Raises:
        UserError: It is such a link.
    """
    file = folder / LABELS_FILE
    if not is_object(file) and file.is_symlink() and not file.exists():
        raise UserError(
            f"{file} is a link to {file.readlink()}, which does not exist. Restore that file, "
            "remove the link, or pass another --layout."
        )


def is_label_file(file: Path) -> bool:
    """Return whether a CSV file has a path and a label column.

    Raises:
        UserError: The file cannot be read.
    """
    return has_label_columns(_read(file), str(file))


def find_other_label_files(folder: Path) -> list[str]:
    """Names of the CSV files in a folder that are tables of labels, except `labels.csv`."""
    names = [entry.name for entry in scan_folder(folder)]
    tables = [name for name in names if name.lower().endswith((".csv", ".tsv"))]
    return [name for name in tables if name != LABELS_FILE and _has_label_header(folder / name)]


def _has_label_header(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            return has_label_columns(stream.readline(MAX_HEADER_BYTES), file.name)
    except (OSError, UserError):  # not a table in any case
        return False


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise unreadable_table(str(file), problem) from None


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
    records = read_records(content, name, require_labels, quality)
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
        similar = suggest_emotion(text)
        hint = f" (did you mean {similar}?)" if similar else ""
        quality.note_invalid_label(f"{where}: {text[:40]!r}{hint}", codes)
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
