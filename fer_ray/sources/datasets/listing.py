"""List a source for a run folder: detect its layout, read labels, select images."""

import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.schemas import LISTING_SCHEMA
from fer_ray.settings.datasets import DatasetName
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.ckplus_roots import find_roots
from fer_ray.sources.datasets.ckplus_selection import list_ckplus
from fer_ray.sources.datasets.empty_source import describe_empty_source
from fer_ray.sources.datasets.photographs import detect_photograph_layout, list_photographs
from fer_ray.sources.datasets.published import list_published
from fer_ray.sources.datasets.recognition import find_dataset, note_similar_names, pixel_tables
from fer_ray.sources.image_files import source_lost_on_error
from fer_ray.sources.label_files import (
    find_other_label_files,
    is_label_file,
    reject_broken_link,
)
from fer_ray.sources.label_table import LABELS_FILE
from fer_ray.sources.pixel_tables import is_entry, table_of
from fer_ray.sources.quality import Quality
from fer_ray.storage.paths import listed_once
from fer_ray.vocabulary import EMOTIONS, SYNTHETIC_MARKER

PUBLISHED = "published"  # the layout of a published data set other than CK+
SIZE = "size"  # column of the size of each file in bytes
PIXELS = "pixels"  # the layout of tables of pixels; files may be written next to them


@dataclass(frozen=True)
class Listing:
    """The selected images of a source, sorted by image_id.

    Attributes:
        root: Folder that `path` is relative to.
        table: One row per image, `LISTING_SCHEMA`.
        summary: Counts and data quality, for `extract.json`.
    """

    root: Path
    table: pa.Table
    summary: dict[str, Any]

    def digest(self) -> str:
        """Hex SHA-256 over the rows and the sizes and modification times of their files."""
        digest = hashlib.sha256()
        for column in self.table.columns:
            digest.update(repr(column.to_pylist()).encode())
        digest.update(repr(self._stats).encode())
        return digest.hexdigest()

    def with_sizes(self) -> pa.Table:
        """The table with the size of each file in `SIZE`, −1 if it is missing."""
        return self.table.append_column(SIZE, self.files()[SIZE])

    def files(self) -> pa.Table:
        """The `path`, `size` (bytes) and `mtime_ns` of the file of each row; −1 if missing."""
        sizes, times = zip(*self._stats, strict=True) if self._stats else ((), ())
        columns = {SIZE: pa.array(sizes, pa.int64()), "mtime_ns": pa.array(times, pa.int64())}
        return pa.table({"path": self.table["path"], **columns})

    @cached_property
    def _stats(self) -> list[tuple[int, int]]:
        return [_file_stat(self.root / path) for path in self.table["path"].to_pylist()]


def list_source(data: Path, selection: Selection) -> Listing:
    """List a source and select images from it.

    Args:
        data: Folder in the CK+ layout; folder of images (in folders named after emotions, with a
            `labels.csv`, or unlabelled); or CSV file.
        selection: Layout, and which frames to select.

    Raises:
        UserError: The source does not exist, or no image in it is selected.
        SourceLostError: Its object store does not answer.

    Examples:
        >>> listing = list_source(Path("faces"), Selection(frames="all"))  # doctest: +SKIP
        >>> paths = listing.table["path"].to_pylist()  # doctest: +SKIP
    """
    with source_lost_on_error():
        if not data.exists():
            raise UserError(f"{data} does not exist. Pass the folder or CSV file of the images.")
        with listed_once(source_root(data)):
            listing = _list_source(data, selection)
            listing.files()  # cached, as only the listing knows sizes and times at no cost
    return listing


def _list_source(data: Path, selection: Selection) -> Listing:
    layout, quality, root = detect_layout(data, selection), Quality(), source_root(data)
    dataset = find_dataset(data, selection) if layout in (PUBLISHED, PIXELS) else None
    if layout == "ckplus":
        rows, figures = list_ckplus(root, selection, quality)
    elif dataset is not None:
        rows, figures = list_published(data, dataset, selection, quality)
    else:
        rows, figures = list_photographs(data, layout, selection, quality)
        if layout != "csv" and selection.layout == "auto":
            if (data / LABELS_FILE).is_file():
                quality.note("other_labels_file", LABELS_FILE)
            for name in find_other_label_files(data):
                quality.note("unused_labels_file", name)
            if not any(row["emotion"] for row in rows):
                note_similar_names(data, selection, quality)
    _note_similar_subjects({row["subject"] for row in rows if row["subject"]}, quality)
    records = quality.records()
    if not rows:
        raise UserError(
            f"{data}: {figures['images_found']} images found, none selected"
            + _selection_advice(layout, selection)
            + describe_empty_source(data, figures | {"quality": records})
        )
    rows.sort(key=lambda row: row["image_id"])
    summary = {
        "root": str(root.absolute()),
        "layout": layout,
        "synthetic": _is_synthetic(root),
        **figures,
        "selected": len(rows),
        "selected_by_emotion": count_emotions(rows),
        "without_subject": sum(row["label"] is not None and not row["subject"] for row in rows),
        "quality": records,
    }
    return Listing(root, pa.Table.from_pylist(rows, schema=LISTING_SCHEMA), summary)


def _note_similar_subjects(subjects: set[str], quality: Quality) -> None:
    spellings: dict[str, list[str]] = defaultdict(list)
    for subject in sorted(subjects):
        text = unicodedata.normalize("NFKC", subject).casefold()
        spellings[" ".join(text.split())].append(subject)
    for names in spellings.values():
        if len(names) > 1:
            quality.note("similar_subjects", " and ".join(names))


def count_emotions(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Number of rows of each emotion that occurs, in the order of `EMOTIONS`."""
    counts = Counter(row["emotion"] for row in rows)
    return {name: counts[name] for name in EMOTIONS if counts[name]}


def source_root(data: Path) -> Path:
    """Folder that the paths of images are relative to."""
    return data.parent if data.is_file() else data


def detect_layout(data: Path, selection: Selection) -> str:
    """The layout of a source: the selected one, or the one that its files show."""
    if selection.layout != "auto":
        return selection.layout
    if selection.dataset == "ckplus":
        return "ckplus"
    if selection.dataset is not None:
        return _published_layout(data, selection.dataset)
    reject_broken_link(data)
    labels_file = data / LABELS_FILE
    has_labels_file = not data.is_file() and labels_file.is_file()
    if not data.is_file() and not has_labels_file and find_roots(data):
        return "ckplus"
    if dataset := find_dataset(data, selection):
        return _published_layout(data, dataset)
    if data.is_file() or (has_labels_file and is_label_file(labels_file)):
        return "csv"
    if find_roots(data):
        return "ckplus"
    layout = detect_photograph_layout(data, selection)
    # Without labelled folders, the file is the only source of labels: reading it names its problem.
    return "csv" if has_labels_file and layout == "images" else layout


def _published_layout(data: Path, dataset: DatasetName) -> str:
    return PIXELS if dataset == "fer2013" and pixel_tables(data) else PUBLISHED


def require_labels(data: Path, listing: Listing) -> None:
    """Check, before any work begins, that there are labels to train on.

    Raises:
        UserError: No selected image is labelled.
    """
    if not listing.summary["selected_by_emotion"]:
        raise UserError(
            f"{data} has no labelled images to train on. Use `fer-ray extract` for images without "
            f"labels.\n{describe_empty_source(data, listing.summary)}"
        )


def _file_stat(file: Path) -> tuple[int, int]:
    """Size in bytes and modification time in nanoseconds; (-1, -1) if the file is missing."""
    try:
        info = (table_of(file) if is_entry(file) else file).stat()
    except (OSError, ValueError):  # ValueError: a path with a null character
        return -1, -1
    return info.st_size, info.st_mtime_ns


def _selection_advice(layout: str, selection: Selection) -> str:
    if layout == "ckplus":
        return (
            f": the selection `{selection.frames}` takes labelled sequences, and no sequence has a "
            "valid label. Check that the label folder (Emotion/) is next to the images, or pass "
            "`--frames all` to take every frame, labelled or not.\n"
        )
    return ".\n"


def _is_synthetic(root: Path) -> bool:
    marker = root / SYNTHETIC_MARKER
    if not marker.is_file():
        return False
    try:
        return json.loads(marker.read_text(encoding="utf-8")).get("synthetic") is True
    except (ValueError, AttributeError):
        return False
