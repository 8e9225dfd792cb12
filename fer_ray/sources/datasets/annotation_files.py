"""The label files of RAF-DB, AffectNet and FER+."""

import csv
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np

from fer_ray.errors import UserError, error_text
from fer_ray.settings.extraction import Selection
from fer_ray.sources.emotion_words import parse_code, parse_word
from fer_ray.sources.image_files import image_paths, scan_folder
from fer_ray.sources.labels import Label, make_label
from fer_ray.sources.pixel_tables import is_pixel_table, list_rows
from fer_ray.sources.quality import Quality
from fer_ray.storage.files import read_each

# The first spelling is that of the data set.
RAFDB_LISTS = ("list_patition_label.txt", "list_partition_label.txt")
RAFDB_FOLDERS = ("", "EmoLabel/", "basic/EmoLabel/")
FERPLUS_VOTES = "fer2013new.csv"
FER2013_TABLE = "fer2013.csv"
NO_EMOTION = ("unknown", "NF")  # columns of FER+ for votes that name no emotion


def rafdb_list(root: Path) -> Path | None:
    """The label list of RAF-DB; None if there is none."""
    files = (root / f"{folder}{name}" for folder in RAFDB_FOLDERS for name in RAFDB_LISTS)
    return next((file for file in files if file.is_file()), None)


def read_rafdb(
    root: Path, file: Path, selection: Selection, quality: Quality, left_out: Quality
) -> dict[str, Label]:
    """Read the labels of RAF-DB, lines such as `train_00001.jpg 5`.

    The image is the one of that name, or with `_aligned` before its extension; aligned images are
    preferred where both exist.

    Args:
        root: The source.
        file: The list of labels.
        selection: Codes of labels, and whether to include hidden files.
        quality: Counts irregular labels.
        left_out: Counts files that are not images.
    """
    by_stem: dict[str, str] = {}
    for path in image_paths(root, left_out, selection.hidden_files):
        stem = PurePosixPath(path).stem
        if stem not in by_stem:
            by_stem[stem] = path
    labels: dict[str, Label] = {}
    for number, line in enumerate(_read_text(file).splitlines(), start=1):
        name, _, text = line.strip().rpartition(" ")
        if not name:
            continue
        stem = PurePosixPath(name).stem
        image = by_stem.get(f"{stem}_aligned") or by_stem.get(stem)
        if image is None:
            quality.note("unknown_path", name)
            continue
        code = parse_code(text, selection.codes or "rafdb")
        if code is None:
            quality.note("invalid_label", f"{file.name}, line {number}: {text[:40]!r}")
        labels[image] = make_label(code)
    return labels


def read_affectnet(
    root: Path, folders: list[Path], quality: Quality, left_out: Quality
) -> dict[str, Label]:
    """Read the labels of AffectNet: `annotations/N_exp.npy` next to `images/N.jpg`.

    Args:
        root: The source.
        folders: Folders of annotations.
        quality: Counts images without a valid label.
        left_out: Counts files that are not images.
    """
    labels: dict[str, Label] = {}
    for folder in folders:
        images = folder.parent / "images"
        prefix = images.relative_to(root).as_posix()
        names = [*image_paths(images, left_out)] if images.is_dir() else []
        stored = {entry.name for entry in scan_folder(folder)}
        files = {name: folder / f"{PurePosixPath(name).stem}_exp.npy" for name in names}
        known = [name for name in names if files[name].name in stored]
        contents = dict(zip(known, read_each([files[name] for name in known]), strict=True))
        for name in names:
            code = _parse_annotation(contents.get(name), f"{prefix}/{name}", quality)
            labels[f"{prefix}/{name}"] = make_label(code)
    return labels


def _parse_annotation(content: bytes | OSError | None, path: str, quality: Quality) -> int | None:
    if content is None:
        quality.note("no_label", path)
        return None
    if isinstance(content, OSError):
        quality.note("unreadable_label", f"{path}: {content.strerror}")
        return None
    try:
        value = str(np.load(BytesIO(content), allow_pickle=False).item())
    except (ValueError, EOFError) as problem:
        quality.note("unreadable_label", f"{path}: {problem}")
        return None
    code = parse_code(value, "affectnet")
    if code is None:
        quality.note("other_class", f"{path}: {value[:40]}")
    return code


def read_ferplus(
    root: Path, hidden_files: bool, quality: Quality, left_out: Quality
) -> dict[str, Label]:
    """Read the votes of FER+ for images of FER2013.

    The images are files with the names in the table, or the rows of `fer2013.csv` next to it, which
    has the same order. An image is labelled if more than half of its votes are for one emotion.

    Args:
        root: The source.
        hidden_files: Whether to include hidden files.
        quality: Counts irregular labels.
        left_out: Counts files that are not images.

    Raises:
        UserError: The table is not one of votes, or there are no images.
    """
    file, pixels = root / FERPLUS_VOTES, root / FER2013_TABLE
    records = [*csv.DictReader(_read_text(file).splitlines())]
    by_name = {PurePosixPath(path).name: path for path in image_paths(root, left_out, hidden_files)}
    rows = [row.name for row in list_rows(pixels)] if is_pixel_table(pixels) else []
    if not by_name and len(rows) != len(records):
        raise UserError(
            f"{root} contains no images of FER+: put the images, or {FER2013_TABLE}, next to "
            f"{FERPLUS_VOTES}."
        )
    labels: dict[str, Label] = {}
    for number, record in enumerate(records):
        name = (record.get("Image name") or "").strip()
        path = by_name.get(name) or (rows[number] if len(rows) == len(records) else None)
        if path is None:
            quality.note("unknown_path" if name else "missing_path", name or f"line {number + 2}")
            continue
        code = _majority(record)
        if code is None:
            quality.note("no_majority", path)
        labels[path] = make_label(code)
    return labels


def _majority(record: dict[str, str]) -> int | None:
    """The emotion with more than half of the votes, or None."""
    columns = [name for name in record if name and (parse_word(name) is not None)]
    try:
        votes = {name: int(record[name] or 0) for name in (*columns, *NO_EMOTION)}
    except (KeyError, ValueError):
        raise UserError(
            f"{FERPLUS_VOTES} is not the table of votes of FER+: a column {' or '.join(NO_EMOTION)}"
            " is missing, or a vote is not a number. Download it again."
        ) from None
    winner = max(votes, key=lambda name: votes[name])
    return parse_word(winner) if 2 * votes[winner] > sum(votes.values()) else None


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{file} cannot be read: {error_text(problem)}. Correct it.") from None
