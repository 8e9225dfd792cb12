"""Photographs that are not sequences: labelled by folders or a CSV file, or unlabelled."""

from pathlib import Path
from typing import Any

from fer_ray.sources.image_files import image_paths
from fer_ray.sources.labels import LABELS_FILE, Label, folder_label, make_label, read_label_file
from fer_ray.sources.quality import Quality
from fer_ray.vocabulary import Role

Row = dict[str, Any]


def detect_photograph_layout(root: Path) -> str:
    """`folders` if an image lies in a folder named after an emotion, else `images`."""
    is_labelled = any(folder_label(path) is not None for path in image_paths(root, Quality()))
    return "folders" if is_labelled else "images"


def list_photographs(
    data: Path, layout: str, include_unlabelled: bool, quality: Quality
) -> tuple[list[Row], dict[str, Any]]:
    """List the photographs of a source.

    Args:
        data: Folder of images, or CSV file.
        layout: `csv`, `folders` or `images`.
        include_unlabelled: Whether to include unlabelled images next to labelled ones. Where no
            image is labelled, all are included.
        quality: Counts irregularities.

    Returns:
        The selected rows, and counts of images and subjects.

    Raises:
        UserError: The CSV file cannot be read or has no path or label column.
    """
    if layout == "csv":
        file = data if data.is_file() else data / LABELS_FILE
        labels = read_label_file(file, quality, require_labels=not include_unlabelled)
        rows = [photograph_row(path, label) for path, label in labels.items()]
    else:
        by_folder = layout == "folders"
        rows = [
            photograph_row(path, make_label(folder_label(path) if by_folder else None))
            for path in image_paths(data, quality)
        ]
    figures = {
        "images_found": len(rows),
        "subjects": len({row["subject"] for row in rows if row["subject"]}),
    }
    if not include_unlabelled and any(row["label"] is not None for row in rows):
        for row in rows if layout == "folders" else ():
            if row["label"] is None:
                quality.note("no_emotion_folder", row["path"])
        rows = [row for row in rows if row["label"] is not None]
    return rows, figures


def photograph_row(path: str, label: Label) -> Row:
    """The listing row of a photograph; its path is its image ID."""
    role = Role.OTHER if label.code is None else Role.PEAK if label.code else Role.NEUTRAL
    return {
        "image_id": path,
        "path": path,
        "subject": label.subject,
        "session": None,
        "frame": None,
        "role": role.value,
        "emotion": label.emotion,
        "label": label.code,
    }
