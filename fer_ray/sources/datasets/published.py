"""Published data sets in the layout in which they are distributed."""

from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.settings.datasets import DATASETS, DatasetName
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.annotations.affectnet import (
    affectnet_tables,
    annotation_folders,
    read_affectnet_arrays,
    read_affectnet_tables,
)
from fer_ray.sources.datasets.annotations.ferplus import read_ferplus
from fer_ray.sources.datasets.annotations.rafdb import rafdb_list, read_rafdb
from fer_ray.sources.datasets.photographs import Row, list_photographs, select_labelled
from fer_ray.sources.datasets.recognition import pixel_tables
from fer_ray.sources.emotion_words import is_missing, parse_emotion
from fer_ray.sources.label_table import LABELS_FILE
from fer_ray.sources.labels import Label, make_label, parse_file_name
from fer_ray.sources.pixel_tables import list_rows
from fer_ray.sources.quality import Quality


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
        if layout == "folders" and not any(row["emotion"] for row in rows):
            raise wrong_dataset(str(data), dataset)
    else:
        rows, figures = select_labelled(labels, selection)
    for row in rows:
        if parts := parse_file_name(row["path"], dataset):
            row |= {"subject": parts.subject, "session": parts.session, "frame": parts.frame}
    return rows, {**figures, "dataset": dataset}


def wrong_dataset(source: str, dataset: DatasetName) -> UserError:
    """The error for images none of which belongs to a data set."""
    spec = DATASETS[dataset]
    return UserError(
        f"{source} does not have the layout of {spec.title}, and no label was found. {spec.title} "
        f"needs {spec.needs}. Correct --data, or pass another --dataset, or none for your own "
        "images."
    )


def _read_labels(
    data: Path, dataset: DatasetName, selection: Selection, quality: Quality
) -> dict[str, Label] | None:
    """The labels of a data set's own files; None if folders or a CSV file of labels have them."""
    root = data.parent if data.is_file() else data
    if dataset == "fer2013" and (tables := pixel_tables(data)):
        return _read_pixel_tables(tables, selection, quality)
    if dataset == "affectnet" and data.is_file() and affectnet_tables(data):
        return read_affectnet_tables(data, selection, quality, left_out=quality)
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
        return read_ferplus(root, selection, quality, left_out)
    if dataset == "rafdb" and (file := rafdb_list(root)):
        return read_rafdb(root, file, selection, quality, left_out)
    if dataset == "affectnet" and (folders := annotation_folders(root)):
        return read_affectnet_arrays(root, folders, selection, quality, left_out)
    if dataset == "affectnet" and affectnet_tables(root):
        return read_affectnet_tables(root, selection, quality, left_out)
    return None


def _read_pixel_tables(
    tables: list[Path], selection: Selection, quality: Quality
) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    codes = selection.codes or "fer2013"
    for file in tables:
        for row in list_rows(file):
            code = None
            if is_missing(row.emotion):
                quality.note("no_label", row.name)
            elif (code := parse_emotion(row.emotion, codes)) is None:
                quality.note_invalid_label(f"{row.name}: {row.emotion[:40]!r}", codes)
            labels[row.name] = make_label(code)
    return labels
