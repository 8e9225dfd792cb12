"""Photographs that are no sequences: folders named after emotions, a CSV of labels, or neither."""

import csv
import os
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.sources.ckplus import parse_code
from fer_ray.sources.quality import Quality
from fer_ray.sources.walk import image_paths
from fer_ray.vocabulary import EMOTIONS, Role

LABELS_FILE = "labels.csv"

# Names that other data sets give the same eight classes.
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

Row = dict[str, Any]


def parse_emotion(text: str) -> int | None:
    """The class code of a name (`happy`, `Happiness`) or a code (`5`); None if it is neither."""
    name = text.strip().lower()
    name = SYNONYMS.get(name, name)
    return EMOTIONS.index(name) if name in EMOTIONS else parse_code(name)


def detect(root: Path) -> str:
    """`folders` if an image lies in a folder named after an emotion, else `images`."""
    named = any(folder_label(path) is not None for path in image_paths(root, Quality()))
    return "folders" if named else "images"


def list_photos(
    data: Path, layout: str, keep_unlabelled: bool, quality: Quality
) -> tuple[list[Row], dict[str, Any]]:
    """Rows of the photographs in `data` and figures about them.

    Unlabelled ones are taken where asked for, and where nothing is labelled at all.

    Raises:
        UserError: A CSV that cannot be read or lacks a column.
    """
    if layout == "csv":
        rows = rows_of_csv(
            data if data.is_file() else data / LABELS_FILE, quality, not keep_unlabelled
        )
    else:
        labelled = layout == "folders"
        rows = [
            _row(path, folder_label(path) if labelled else None, None)
            for path in image_paths(data, quality)
        ]
    figures = {
        "images_found": len(rows),
        "subjects": len({row["subject"] for row in rows if row["subject"]}),
    }
    if not keep_unlabelled and any(row["label"] is not None for row in rows):
        for row in rows if layout == "folders" else ():
            if row["label"] is None:
                quality.note("no_emotion_folder", row["path"])
        rows = [row for row in rows if row["label"] is not None]
    return rows, figures


def folder_label(path: str) -> int | None:
    """The code that the innermost folder named after an emotion gives."""
    names = reversed(path.split("/")[:-1])
    codes = (parse_emotion(name) for name in names if not name.isdigit())
    return next((code for code in codes if code is not None), None)


def _row(path: str, label: int | None, subject: str | None) -> Row:
    role = Role.OTHER if label is None else Role.PEAK if label else Role.NEUTRAL
    return {
        "image_id": path,
        "path": path,
        "subject": subject,
        "session": None,
        "frame": None,
        "role": role.value,
        "emotion": None if label is None else EMOTIONS[label],
        "label": label,
    }


def rows_of_csv(file: Path, quality: Quality, labels_needed: bool = True) -> list[Row]:
    """Rows of the images that a CSV file names, once each; what is odd is noted.

    Args:
        file: It.
        quality: Told what is odd.
        labels_needed: Whether it must have a column of labels.

    Raises:
        UserError: It cannot be read, lacks a column, or names only files outside its folder.
    """
    rows: dict[str, Row] = {}
    records = _read_csv(file, labels_needed)
    for number, record in enumerate(records, start=2):
        path = _inside(file.parent, record["path"] or "")
        if not record["path"]:
            quality.note("missing_path", f"line {number}")
        elif path is None:
            quality.note("path_outside", f"line {number}: {record['path']}")
        elif path in rows:
            quality.note("duplicate_path", f"line {number}: {path}")
        else:
            label = parse_emotion(record["label"] or "")
            if record["label"] == "":
                quality.note("no_label", f"line {number}: {path}")
            elif label is None and record["label"]:
                quality.note("invalid_label", f"line {number}: {record['label'][:40]!r}")
            rows[path] = _row(path, label, record["subject"] or None)
    if records and not rows:
        raise UserError(
            f"{file} names no file in its own folder or below, and paths that lead out of it are "
            "not followed. Put it into the folder that holds the images, or name them yourself."
        )
    return list(rows.values())


def _read_csv(file: Path, labels_needed: bool) -> list[dict[str, str | None]]:
    """Records with `path`, `label` and `subject`, stripped; a missing cell is an empty string.

    The label is None where there is no such column, nor need of it.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            names = {name.strip().lower(): name for name in reader.fieldnames or ()}
            path = _column(file, names, PATH_COLUMNS)
            label = None
            if labels_needed or not names.keys().isdisjoint(LABEL_COLUMNS):
                label = _column(file, names, LABEL_COLUMNS)
            subject = next((names[name] for name in SUBJECT_COLUMNS if name in names), None)
            return [
                {
                    "path": (row[path] or "").strip(),
                    "label": None if label is None else (row[label] or "").strip(),
                    "subject": (row[subject] or "").strip() if subject else "",
                }
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise UserError(f"{file} cannot be read as CSV: {problem}") from None


def _column(file: Path, names: dict[str, str], wanted: tuple[str, ...]) -> str:
    for name in wanted:
        if name in names:
            return names[name]
    found = ", ".join(names) or "no header"
    raise UserError(f"{file} needs a column {' or '.join(wanted)}; its header has: {found}.")


def _inside(root: Path, path: str) -> str | None:
    """`path` relative to `root`, or None if it leads out of it, by itself or through a link."""
    relative = os.path.relpath(root / path, root)
    outside = relative == ".." or relative.startswith("../") or "\0" in path
    if outside or not Path(os.path.realpath(root / relative)).is_relative_to(
        os.path.realpath(root)
    ):
        return None
    return Path(relative).as_posix()
