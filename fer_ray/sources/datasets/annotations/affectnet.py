"""The label files of AffectNet: an array for each image, or tables of all images."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from tokenize import TokenError

import numpy as np

from fer_ray.settings.datasets import PARTS
from fer_ray.settings.extraction import Selection
from fer_ray.settings.label_codes import LabelCodes
from fer_ray.sources.datasets.annotations.text_files import read_lines
from fer_ray.sources.emotion_words import clean_text, is_missing, parse_emotion
from fer_ray.sources.image_files import first_names, image_paths, scan_folder
from fer_ray.sources.label_table import decode_text, reduced_name
from fer_ray.sources.labels import Label, add_unlisted, make_label
from fer_ray.sources.quality import Quality
from fer_ray.storage.files import read_each

MAX_SCANNED = 1_000  # files of a folder of annotations, a quarter of which name an expression
ANNOTATION_FOLDERS = ("annotations", "train_set/annotations", "val_set/annotations")
ANNOTATION_SUFFIX = "_exp.npy"
MAX_ANNOTATION = 4_096  # bytes of an array of a single value, with its header
OTHER_CLASSES = frozenset({"8", "9", "10"})  # none, uncertain, no face
# The columns of the tables, some of which have no header.
COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
PATH, EXPRESSION = "subdirectoryfilepath", "expression"  # as `reduced_name` gives them
TABLES = ("training.csv", "validation.csv", "automatically_annotated.csv", "train.csv", "val.csv")
TABLE_FOLDERS = ("", "Manually_Annotated_file_lists/", "Automatically_annotated_file_list/")
HEADER_BYTES = 4_096
_FIRST_IMAGE = re.compile(r"\d+/[^/,]+\.\w+,")  # of a table without a header
_AUTOMATIC = "automatically_annotated"  # images for training only


def annotation_folders(root: Path) -> list[Path]:
    """The folders of annotations `N_exp.npy`."""
    return [root / name for name in ANNOTATION_FOLDERS if _has_annotations(root / name)]


def _has_annotations(folder: Path) -> bool:
    return any(name.endswith(ANNOTATION_SUFFIX) for name in first_names(folder, MAX_SCANNED))


def affectnet_tables(data: Path) -> list[Path]:
    """The tables of AffectNet in a source, such as `training.csv`, or a source that is one."""
    files = [data / f"{folder}{name}" for folder in TABLE_FOLDERS for name in TABLES]
    return [file for file in ([data] if data.is_file() else files) if _is_table(file)]


def _is_table(file: Path) -> bool:
    """Return whether a file is a CSV file with the columns of AffectNet."""
    if file.suffix.lower() != ".csv" or not file.is_file():
        return False
    try:
        with file.open("rb") as stream:
            line = decode_text(stream.read(HEADER_BYTES), "replace").partition("\n")[0]
    except (OSError, UnicodeDecodeError):  # listing the source reports that
        return False
    names = {reduced_name(name) for name in line.split(",")}
    return {PATH, EXPRESSION} <= names or (
        _part(file) is not None and _FIRST_IMAGE.match(line) is not None
    )


def _part(file: Path) -> str | None:
    """The part of the official split that a table is named after."""
    name = file.stem.lower()
    if name.startswith(_AUTOMATIC):
        return "train"
    return PARTS.get(name)


def read_affectnet_tables(
    data: Path, selection: Selection, quality: Quality, left_out: Quality
) -> dict[str, Label]:
    """Read the labels of AffectNet from tables with a path such as `12/0a1b.jpg` and an expression.

    The numbers of folders have no meaning. The names of the tables give the part of the split.

    Args:
        data: The folder of the data set, or one of its tables, which then lists all images.
        selection: Codes of labels, and whether to include hidden files.
        quality: Counts irregular labels.
        left_out: Counts files that are not images.

    Raises:
        UserError: A table cannot be read.
    """
    tables, root = affectnet_tables(data), data.parent if data.is_file() else data
    for file in tables:
        quality.use_file(file.relative_to(root).as_posix())
    paths = [*image_paths(root, left_out, selection.hidden_files)]
    by_key = {_key(path): path for path in reversed(paths)}
    labels: dict[str, Label] = {}
    for file in tables:
        part = _part(file)
        for line, name, text in _rows(file, quality):
            path = by_key.get(_key(name))
            if path is None:
                quality.note("unknown_path", name)
            elif path in labels:
                quality.note("duplicate_path", f"{line}: {path}")
            else:
                code = _parse_expression(text, path, selection.codes or "affectnet", quality)
                labels[path] = make_label(code)._replace(part=part)
    if root == data:
        add_unlisted(paths, labels, quality)
    return labels


def _key(path: str) -> str:
    """The storage folder and the name of an image, without its extension."""
    parsed = PurePosixPath(path.replace("\\", "/"))
    return f"{parsed.parent.name}/{parsed.stem}"


def _rows(file: Path, quality: Quality) -> Iterator[tuple[str, str, str]]:
    """The line, the path and the expression of each image of a table."""
    columns = [reduced_name(name) for name in COLUMNS]
    for number, cells in read_lines(file):
        line = f"{file.name}, line {number}"
        names = [reduced_name(cell) for cell in cells] if number == 1 else []
        if PATH in names:
            columns = names
            continue
        record = dict(zip(columns, cells, strict=False))
        if EXPRESSION in record and record.get(PATH):
            yield line, record[PATH].strip(), record[EXPRESSION]
        else:
            quality.note("unparsed_line", line)


def read_affectnet_arrays(
    root: Path, folders: list[Path], selection: Selection, quality: Quality, left_out: Quality
) -> dict[str, Label]:
    """Read the labels of AffectNet: `annotations/N_exp.npy` next to `images/N.jpg`.

    Args:
        root: The source.
        folders: Folders of annotations.
        selection: Codes of labels, and whether to include hidden files.
        quality: Counts images without a valid label.
        left_out: Counts files that are not images.
    """
    labels: dict[str, Label] = {}
    for folder in folders:
        images = folder.parent / "images"
        prefix = images.relative_to(root).as_posix()
        quality.use_file(f"{folder.relative_to(root).as_posix()}/")
        names = [*image_paths(images, left_out, selection.hidden_files)] if images.is_dir() else []
        stored = {entry.name for entry in scan_folder(folder)}
        files = {name: folder / f"{PurePosixPath(name).stem}{ANNOTATION_SUFFIX}" for name in names}
        known = [name for name in names if files[name].name in stored]
        contents = dict(zip(known, read_each([files[name] for name in known]), strict=True))
        for name in names:
            path = f"{prefix}/{name}"
            text = _read_array(contents.get(name), path, quality)
            codes = selection.codes or "affectnet"
            code = None if text is None else _parse_expression(text, path, codes, quality)
            labels[path] = make_label(code)
    return labels


def _read_array(content: bytes | OSError | None, path: str, quality: Quality) -> str | None:
    """The value of an annotation, None if it is missing or cannot be read."""
    if content is None:
        quality.note("no_label", path)
    elif isinstance(content, OSError):
        quality.note("unreadable_label", f"{path}: {content.strerror}")
    elif (value := _parse_array(content)) is None:
        quality.note("unreadable_label", f"{path}: its annotation is damaged")
    else:
        return value
    return None


def _parse_array(content: bytes) -> str | None:
    """The single value of an array file, None if the file is damaged."""
    if len(content) > MAX_ANNOTATION:
        return None
    try:
        array = np.lib.format.read_array(BytesIO(content), allow_pickle=False)
        return str(array.item())
    except (ValueError, EOFError, SyntaxError, TypeError, MemoryError, OverflowError, TokenError):
        return None


def _parse_expression(text: str, path: str, codes: LabelCodes, quality: Quality) -> int | None:
    if is_missing(text):
        quality.note("no_label", path)
        return None
    code = parse_emotion(text, codes)
    if code is None and clean_text(text).removesuffix(".0") in OTHER_CLASSES:
        quality.note("other_class", f"{path}: {text}")
    elif code is None:
        quality.note_invalid_label(f"{path}: {text[:40]!r}", codes)
    return code
