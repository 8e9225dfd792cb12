"""Labels of streamed images: from a label file, the layout of a data set, or folder names."""

import os
from itertools import islice
from pathlib import Path

from fer_ray.errors import SourceLostError, UserError
from fer_ray.settings.datasets import DATASETS, DatasetName
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets import ckplus
from fer_ray.sources.datasets.annotation_files import FER2013_TABLE
from fer_ray.sources.datasets.ckplus_selection import select_frames
from fer_ray.sources.datasets.published import find_label_files, read_label_files
from fer_ray.sources.label_files import parse_label_file
from fer_ray.sources.label_table import LABELS_FILE
from fer_ray.sources.labels import Label, make_label
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import Source
from fer_ray.storage.objects.uris import error_text

MAX_SCANNED = 1_000  # entries per folder, to recognise the CK+ layout among millions of files


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
    if (dataset := _dataset_with_files(source, selection)) is not None:
        root = Path(source.root)
        # The sweep lists the images itself, and counts the files that are left out.
        return read_label_files(root, dataset, selection, quality, left_out=Quality())
    if source.local and _looks_like_ckplus(source.root):
        return _read_ckplus(Path(source.root), quality)
    if selection.layout == "ckplus":
        raise UserError(
            f"{source.uri} does not have the CK+ layout, or is not a local folder. Pass another "
            "--layout."
        )
    return None


def _dataset_with_files(source: Source, selection: Selection) -> DatasetName | None:
    """The data set whose label files the source contains, or is said to contain.

    Raises:
        UserError: Its labels are in files that a sweep does not read.
    """
    name = selection.dataset
    if name == "fer2013" and source.local and (Path(source.root) / FER2013_TABLE).is_file():
        raise UserError(
            f"{source.uri} contains {FER2013_TABLE}. A sweep identifies images by size and time "
            "of their files, so it does not read rows of pixels. Use fer-ray extract or run, or "
            "write the rows to image files."
        )
    if source.local and selection.layout == "auto" and name is None:
        return find_label_files(Path(source.root))
    if name is None or DATASETS[name].labels_in != "files":
        return None
    if not source.local:
        raise UserError(
            f"The label files of {DATASETS[name].title} are read from mounted folders only. Add a "
            f"{LABELS_FILE} with the columns path and emotion to {source.uri}, and pass "
            f"--label-codes {DATASETS[name].codes} if the emotions are numbers."
        )
    return name


def _read_labels_file(source: Source) -> bytes | None:
    try:
        return source.read(LABELS_FILE)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise SourceLostError(
            f"{source.uri}/{LABELS_FILE} cannot be read: {error_text(problem)}. Nothing was "
            "changed."
        ) from None


def _read_ckplus(root: Path, quality: Quality) -> dict[str, Label]:
    """Labels of the first frame (neutral) and the last frame (peak) of each sequence."""
    roots = ckplus.find_roots(root)
    if roots is None:
        return {}
    sequences = ckplus.read_sequences(root, *roots, quality)
    rows = select_frames(sequences, Selection(frames="all"))
    return {row["path"]: make_label(row["label"], row["subject"]) for row in rows}


def _looks_like_ckplus(root: str) -> bool:
    """Return whether the top three levels contain an image folder of CK+, from a bounded scan."""
    level = [root]
    for _ in range(3):
        if any(_has_sequences(folder) for folder in level):
            return True
        level = [child for folder in level for child in _folders(folder)][:MAX_SCANNED]
    return False


def _has_sequences(folder: str) -> bool:
    """Return whether a folder has a name of CK+ or contains SUBJECT/SESSION."""
    if Path(folder).name.lower() in ckplus.IMAGE_ROOTS:
        return True
    subjects = [child for child in _folders(folder) if ckplus.is_subject(Path(child).name)]
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
