"""Photographs that are not sequences: labelled by folders or a CSV file, or unlabelled."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Selection
from fer_ray.sources.image_files import image_paths
from fer_ray.sources.label_files import read_label_file, relative_path
from fer_ray.sources.label_table import LABELS_FILE
from fer_ray.sources.labels import FolderLabels, Label
from fer_ray.sources.path_matching import match_paths
from fer_ray.sources.quality import Quality
from fer_ray.vocabulary import Role

Row = dict[str, Any]
EXAMPLES = 3  # paths in a message


def detect_photograph_layout(root: Path, selection: Selection) -> str:
    """`folders` if folders are named after emotions, otherwise `images`.

    With a single class, all images must be in its folders.
    """
    labels = FolderLabels(selection.folder_codes, selection.dataset)
    for path in image_paths(root, Quality(), selection.hidden_files):
        labels(path)
        if len(labels.codes_found) > 1:
            return "folders"
    return "folders" if labels.are_plausible else "images"


def list_photographs(
    data: Path, layout: str, selection: Selection, quality: Quality
) -> tuple[list[Row], dict[str, Any]]:
    """List the photographs of a source.

    Args:
        data: Folder of images, or CSV file.
        layout: `csv`, `folders` or `images`.
        selection: Whether to include unlabelled images next to labelled ones. Where no image is
            labelled, all are included.
        quality: Counts irregularities.

    Returns:
        The selected rows; and counts of images and subjects, and what folders were read as.

    Raises:
        UserError: The CSV file cannot be read, has no path or label column, or lists no file that
            exists.
    """
    if layout == "csv":
        return select_labelled(_read_labels(data, selection, quality), selection)
    labels, class_folders = _label_by_folder(data, layout, selection, quality)
    rows, figures = select_labelled(labels, selection)
    return rows, {**figures, "class_folders": class_folders}


def select_labelled(
    labels: dict[str, Label], selection: Selection
) -> tuple[list[Row], dict[str, Any]]:
    """Select photographs by their labels; if none is labelled, all.

    Returns:
        The selected rows, and counts of images and subjects.
    """
    rows = [photograph_row(path, label) for path, label in labels.items()]
    figures = {
        "images_found": len(rows),
        "subjects": len({row["subject"] for row in rows if row["subject"]}),
    }
    if selection.frames != "all" and any(row["label"] is not None for row in rows):
        rows = [row for row in rows if row["label"] is not None]
    return rows, figures


def _read_labels(data: Path, selection: Selection, quality: Quality) -> dict[str, Label]:
    """The labels of a CSV file by the paths of the files, in the order of the file."""
    file = data if data.is_file() else data / LABELS_FILE
    needs_labels, root = selection.frames != "all", file.parent
    labels = read_label_file(file, quality, needs_labels, selection.codes)
    missing = [path for path in labels if not (root / path).exists()]
    if not missing:
        return labels
    existing = image_paths(root, Quality(), hidden_files=True)
    labels = match_labels(labels, missing, existing, quality, root)
    missing = [path for path in missing if path in labels]
    for path in missing:
        quality.note("missing_file", path)
    if len(missing) == len(labels):
        raise UserError(
            f"None of the {len(missing)} files that {file} lists exists, such as "
            f"{', '.join(missing[:EXAMPLES])}. Correct the paths, which are relative to {root}, or "
            "move the file to the folder that they are relative to."
        )
    return labels


def match_labels(
    labels: dict[str, Label],
    missing: Iterable[str],
    existing: Iterable[str],
    quality: Quality,
    root: Path | None = None,
) -> dict[str, Label]:
    """Move labels of paths that no file has to the files that they name in another spelling.

    Args:
        labels: Labels by path.
        missing: Paths of `labels` that no file has.
        existing: Paths of all files.
        quality: Counts what was matched, and paths that name a file again.
        root: Folder of the files, to check that links do not lead out of it. None: no links.

    Returns:
        The labels by path, in the same order. Paths that could not be matched stay.
    """
    matched = match_paths(missing, existing)
    moved: dict[str, Label] = {}
    for path, label in labels.items():
        target = matched.get(path, path)
        if target != path and root is not None and relative_path(target, root) is None:
            target = path
        if target != path and (target in labels or target in moved):
            quality.note("duplicate_path", f"{path}: {target}")
            continue
        if target != path:
            quality.note("respelled_path", f"{path}: {target}")
        moved[target] = label
    return moved


def _label_by_folder(
    root: Path, layout: str, selection: Selection, quality: Quality
) -> tuple[dict[str, Label], list[dict[str, Any]]]:
    paths = image_paths(root, quality, selection.hidden_files)
    if layout == "images" and selection.layout != "auto":
        return {path: Label() for path in paths}, []
    folder_labels = FolderLabels(selection.folder_codes, selection.dataset)
    labels = {path: folder_labels(path) for path in paths}
    if folder_labels.are_used(layout == "folders", quality):
        return labels, folder_labels.records()
    return {path: Label() for path in labels}, []


def photograph_row(path: str, label: Label) -> Row:
    """The listing row of a photograph.

    Its path is its image ID, after the part of the official split if only the label names that.
    """
    role = Role.OTHER if label.code is None else Role.PEAK if label.code else Role.NEUTRAL
    return {
        "image_id": f"{label.part}/{path}" if label.part else path,
        "path": path,
        "subject": label.subject,
        "session": None,
        "frame": None,
        "role": role.value,
        "emotion": label.emotion,
        "label": label.code,
        "attributes": label.attributes,
    }
