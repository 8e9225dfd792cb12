"""Labels of streamed images: from a label file, the layout of a data set, or folder names."""

import os
import re
from itertools import islice
from pathlib import Path

from fer_ray.errors import SourceLostError, UserError, error_text
from fer_ray.settings.datasets import DATASETS, DatasetName
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets import ckplus, ckplus_roots
from fer_ray.sources.datasets.annotations.ferplus import FER2013_TABLE
from fer_ray.sources.datasets.ckplus_selection import select_frames
from fer_ray.sources.datasets.published import read_label_files
from fer_ray.sources.datasets.recognition import find_label_files
from fer_ray.sources.image_files import source_lost_on_error
from fer_ray.sources.label_files import parse_label_file, reject_broken_link
from fer_ray.sources.label_table import LABELS_FILE
from fer_ray.sources.labels import Label, make_label
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import Source
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.paths import listed_once

MAX_SCANNED = 1_000  # entries per folder, to recognise the CK+ layout among millions of files
# The folders of images, labels and landmarks of CK+ all have this layout.
_SESSION_FILE = re.compile(r"([^/]+/){0,3}S\d+/\d+/[^/]+$", re.IGNORECASE)


def find_labels(source: Source, quality: Quality, selection: Selection) -> dict[str, Label] | None:
    """Find the labels of a source that do not come from the names of its folders.

    Args:
        source: Source of the images.
        quality: Counts irregular labels.
        selection: Layout, and codes of numeric labels.

    Returns:
        The labels of a labels.csv, of the label files of a published data set, or of a CK+ layout,
        by path. None: folders may be labels.

    Raises:
        SourceLostError: labels.csv exists but cannot be read.
        LabelTableError: labels.csv is not a table of labels.
        UserError: The selected layout has labels, and the source does not have it.
    """
    if source.empty or selection.layout in ("folders", "images"):  # listing reports an empty one
        return None
    if selection.layout != "ckplus" and (content := _read_labels_file(source)) is not None:
        name = f"{source.uri}/{LABELS_FILE}"
        return parse_label_file(content, name, quality, codes=selection.codes)
    if selection.layout == "csv":
        raise UserError(f"{source.uri} has no {LABELS_FILE}. Add it, or pass another --layout.")
    if source.path is None:
        _require_labels_elsewhere(source, selection)
        return None
    with source_lost_on_error():
        return _find_in_layout(source.uri, source.path, quality, selection)


def _find_in_layout(
    uri: str, root: Path, quality: Quality, selection: Selection
) -> dict[str, Label] | None:
    """Labels of a published data set, or of a CK+ layout."""
    if (dataset := _dataset_with_files(uri, root, selection)) is not None:
        with listed_once(root):
            # The sweep lists the images itself, and counts the files that are left out.
            return read_label_files(root, dataset, selection, quality, left_out=Quality())
    required = "ckplus" in (selection.layout, selection.dataset)
    if required or (selection.dataset is None and _looks_like_ckplus(root)):
        with listed_once(root):
            labels = _read_ckplus(root, quality)
        if labels is None and required:
            raise UserError(
                f"{uri} does not have the CK+ layout. Pass another --layout or --dataset."
            )
        return labels
    return None


def _dataset_with_files(uri: str, root: Path, selection: Selection) -> DatasetName | None:
    """The data set whose label files the source contains, or is said to contain.

    Raises:
        UserError: It is one of rows of pixels.
    """
    name = selection.dataset
    if name == "fer2013" and (root / FER2013_TABLE).is_file():
        raise pixel_rows_error(uri)
    if selection.layout == "auto" and name is None:
        return find_label_files(root)
    return name if name is not None and DATASETS[name].labels_in == "files" else None


def pixel_rows_error(uri: str) -> UserError:
    """The error for a source whose images are rows of a CSV file."""
    return UserError(
        f"{uri} has images in the rows of a CSV file, which a sweep does not read: it identifies "
        "images by size and time of their files, which rows do not have. Use fer-ray extract or "
        "run, or write the rows to image files."
    )


def _require_labels_elsewhere(source: Source, selection: Selection) -> None:
    """Require that labels do not come from label files, which only paths can name.

    Raises:
        UserError: They do.
    """
    name = selection.dataset or ("ckplus" if selection.layout == "ckplus" else None)
    if name is None or DATASETS[name].labels_in not in ("files", "ckplus"):
        return
    raise UserError(
        f"{source.uri}: label files of {DATASETS[name].title} are read from folders and from plain "
        "URIs. Write the URI without options, and set them as environment variables; or add a "
        f"{LABELS_FILE} with the columns path and emotion."
    )


def _read_labels_file(source: Source) -> bytes | None:
    try:
        return source.read(LABELS_FILE)
    except FileNotFoundError:
        if source.path is not None:
            reject_broken_link(source.path)
        return None
    except OSError as problem:
        raise SourceLostError(
            f"{source.uri}/{LABELS_FILE} cannot be read: {error_text(problem)}. Nothing was "
            "changed."
        ) from None


def _read_ckplus(root: Path, quality: Quality) -> dict[str, Label] | None:
    """Labels of the first frame (neutral) and the last frame (peak) of each sequence."""
    roots = ckplus_roots.find_roots(root)
    if roots is None:
        return None
    sequences = ckplus.read_sequences(root, *roots, quality)
    rows = select_frames(sequences, Selection(frames="all"))
    return {row["path"]: make_label(row["label"], row["subject"]) for row in rows}


def _looks_like_ckplus(root: Path) -> bool:
    """Return whether a source contains an image folder of CK+, from a bounded scan.

    Of a folder, the top three levels are scanned; in an object store, the first objects.
    """
    if isinstance(root, ObjectPath):
        return any(_SESSION_FILE.match(key) for key in root.first_keys(MAX_SCANNED))
    level = [str(root)]
    for _ in range(3):
        if any(_has_sequences(folder) for folder in level):
            return True
        level = [child for folder in level for child in _folders(folder)][:MAX_SCANNED]
    return False


def _has_sequences(folder: str) -> bool:
    """Return whether a folder has a name of CK+ or contains SUBJECT/SESSION."""
    if Path(folder).name.lower() in ckplus_roots.IMAGE_ROOTS:
        return True
    subjects = [child for child in _folders(folder) if ckplus_roots.is_subject(Path(child).name)]
    sessions = (session for subject in subjects[:3] for session in _folders(subject))
    return any(Path(session).name.isdigit() for session in sessions)


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry.path
                for entry in islice(entries, MAX_SCANNED)
                if entry.is_dir(follow_symlinks=False)
            ]
    except OSError:  # listing the source reports that
        return []
