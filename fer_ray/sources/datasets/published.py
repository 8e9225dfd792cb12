"""Published data sets in the layout in which they are distributed."""

from itertools import islice
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.settings.datasets import DATASETS, DatasetName
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.annotation_files import (
    FERPLUS_VOTES,
    rafdb_list,
    read_affectnet,
    read_ferplus,
    read_rafdb,
)
from fer_ray.sources.datasets.photographs import Row, list_photographs, select_labelled
from fer_ray.sources.emotion_words import is_missing, parse_emotion, parse_word
from fer_ray.sources.image_files import first_names, image_paths, scan_folder
from fer_ray.sources.label_table import LABELS_FILE
from fer_ray.sources.labels import Label, make_label, parse_file_name
from fer_ray.sources.pixel_tables import is_pixel_table, list_rows
from fer_ray.sources.quality import Quality

MAX_SCANNED = 1_000  # files of a folder of annotations, a quarter of which name an expression
MAX_NAMES = 200  # of images that must all have the form of a data set's names
ANNOTATION_FOLDERS = ("annotations", "train_set/annotations", "val_set/annotations")
NAMED_DATASETS: tuple[DatasetName, ...] = ("jaffe", "kdef", "rafd", "ckplus48")


def find_dataset(data: Path, selection: Selection) -> DatasetName | None:
    """The published data set that the user chose, or that the files of a source show.

    Returns:
        None for other sources; CK+ trees are recognised by `datasets.ckplus`.
    """
    if selection.dataset is not None:
        return selection.dataset
    if data.is_file():
        return "fer2013" if is_pixel_table(data) else None
    if (data / LABELS_FILE).is_file():
        return None
    if found := find_label_files(data):
        return found
    return "fer2013" if pixel_tables(data) else _find_by_names(data, selection)


def find_label_files(data: Path) -> DatasetName | None:
    """The data set whose own label files are in a folder: FER+, RAF-DB, AffectNet or none."""
    if (data / FERPLUS_VOTES).is_file():
        return "ferplus"
    if rafdb_list(data):
        return "rafdb"
    has_annotations = any(_has_annotations(data / name) for name in ANNOTATION_FOLDERS)
    return "affectnet" if has_annotations else None


def pixel_tables(data: Path) -> list[Path]:
    """The tables of pixels in a folder, or a source that is one itself."""
    if data.is_file():
        return [data] if is_pixel_table(data) else []
    names = [entry.name for entry in scan_folder(data) if entry.name.lower().endswith(".csv")]
    return [data / name for name in names if is_pixel_table(data / name)]


def _has_annotations(folder: Path) -> bool:
    return any(name.endswith("_exp.npy") for name in first_names(folder, MAX_SCANNED))


def _find_by_names(data: Path, selection: Selection) -> DatasetName | None:
    paths = [*islice(image_paths(data, Quality(), selection.hidden_files), MAX_NAMES)]
    found = (
        name for name in NAMED_DATASETS if paths and all(_is_image_of(path, name) for path in paths)
    )
    return next(found, None)


def _is_image_of(path: str, dataset: DatasetName) -> bool:
    """Whether the name of a file has the form of a data set's, in a folder of a class if needed."""
    if parse_file_name(path, dataset) is None:
        return False
    folders = path.split("/")[:-1]
    return DATASETS[dataset].labels_in != "folders" or any(
        parse_word(folder) is not None for folder in folders
    )


def list_published(
    data: Path, dataset: DatasetName, selection: Selection, quality: Quality
) -> tuple[list[Row], dict[str, Any]]:
    """List a published data set other than CK+.

    Args:
        data: The source.
        dataset: Its name.
        selection: Whether to include unlabelled images.
        quality: Counts irregularities.

    Returns:
        The selected rows, and counts of images and subjects.

    Raises:
        UserError: The source does not have the layout of the data set, or a file cannot be read.
    """
    selection = selection.model_copy(update={"dataset": dataset})
    labels = _read_labels(data, dataset, selection, quality)
    if labels is None:
        layout = "csv" if data.is_file() or (data / LABELS_FILE).is_file() else "folders"
        rows, figures = list_photographs(data, layout, selection, quality)
    else:
        rows, figures = select_labelled(labels, selection)
    for row in rows:
        if parts := parse_file_name(row["path"], dataset):
            row |= {"subject": parts.subject, "session": parts.session, "frame": parts.frame}
    return rows, {**figures, "dataset": dataset}


def _read_labels(
    data: Path, dataset: DatasetName, selection: Selection, quality: Quality
) -> dict[str, Label] | None:
    """The labels of a data set's own files; None if folders or a CSV file of labels have them."""
    root = data.parent if data.is_file() else data
    if dataset == "fer2013" and (tables := pixel_tables(data)):
        return _read_pixel_tables(tables, selection, quality)
    labels = read_label_files(root, dataset, selection, quality, left_out=quality)
    if labels is None and data.is_file() and not selection.codes:
        raise UserError(
            f"{DATASETS[dataset].title} has no CSV file. Pass the folder of its images as --data."
        )
    return labels


def read_label_files(
    root: Path, dataset: DatasetName, selection: Selection, quality: Quality, left_out: Quality
) -> dict[str, Label] | None:
    """Read the label files of FER+, RAF-DB or AffectNet.

    Args:
        root: Folder of the data set.
        dataset: Its name.
        selection: Codes of labels, and whether to include hidden files.
        quality: Counts irregular labels.
        left_out: Counts files that are not images.

    Returns:
        Labels by path. None: another data set, or the folder contains no such files.

    Raises:
        UserError: A file cannot be read.
    """
    if dataset == "ferplus":
        return read_ferplus(root, selection.hidden_files, quality, left_out)
    if dataset == "rafdb" and (file := rafdb_list(root)):
        return read_rafdb(root, file, selection, quality, left_out)
    if dataset == "affectnet":
        folders = [root / name for name in ANNOTATION_FOLDERS if _has_annotations(root / name)]
        return read_affectnet(root, folders, quality, left_out) if folders else None
    return None


def _read_pixel_tables(
    tables: list[Path], selection: Selection, quality: Quality
) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    for file in tables:
        for row in list_rows(file):
            code = None
            if is_missing(row.emotion):
                quality.note("no_label", row.name)
            elif (code := parse_emotion(row.emotion, selection.codes or "fer2013")) is None:
                quality.note("invalid_label", f"{row.name}: {row.emotion[:40]!r}")
            labels[row.name] = make_label(code)
    return labels
