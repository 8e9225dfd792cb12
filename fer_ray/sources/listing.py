"""From a source to the rows that take part: layout, labels, selection."""

import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.schemas import LISTING_FIELDS
from fer_ray.settings.extraction import Selection
from fer_ray.sources import ckplus, photographs
from fer_ray.sources.advice import looked_for_and_found
from fer_ray.sources.ckplus import Frame, Sequence
from fer_ray.sources.quality import Quality
from fer_ray.vocabulary import EMOTIONS, Role

SYNTHETIC_MARKER = "synthetic.json"  # written by fer_ray.synthetic at the root of its trees

LISTING_SCHEMA = pa.schema(LISTING_FIELDS)
Row = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """The selected images of a source, sorted by image_id.

    Attributes:
        root: Folder that `path` is relative to.
        table: One row per image, `LISTING_SCHEMA`.
        summary: Figures and data quality, for `extract.json`.
    """

    root: Path
    table: pa.Table
    summary: dict[str, Any]


def list_source(data: Path, selection: Selection) -> Listing:
    """List `data` and select from it.

    Args:
        data: A CK+ tree, a folder of images (in folders named after emotions, or with a
            `labels.csv`, or unlabelled), or a CSV file.
        selection: Layout and choice of frames.

    Raises:
        UserError: The source is not there, or holds nothing of the kind asked for.
    """
    layout = layout_of(data, selection)
    quality = Quality()
    root = root_of(data)
    if layout == "ckplus":
        rows, figures = _list_ckplus(root, selection, quality)
    else:
        rows, figures = photographs.list_photos(data, layout, selection.frames == "all", quality)
    quality_of = {"quality": quality.records()}
    if not rows:
        raise UserError(
            f"{data}: {figures['images_found']} images found, none of them selected"
            + _why_nothing(layout, selection)
            + looked_for_and_found(data, figures | quality_of)
        )
    rows.sort(key=lambda row: row["image_id"])
    table = pa.Table.from_pylist(rows, schema=LISTING_SCHEMA)
    labelled = Counter(row["emotion"] for row in rows if row["emotion"])
    summary = {
        "root": str(root.resolve()),
        "layout": layout,
        "synthetic": _is_synthetic(root),
        **figures,
        "selected": len(rows),
        "selected_by_emotion": {name: labelled[name] for name in EMOTIONS if labelled[name]},
        **quality_of,
    }
    return Listing(root, table, summary)


def refuse_among_images(target: Path, root: Path, layout: str) -> None:
    """See that what is written to `target` is not taken for images of the source the next time.

    Raises:
        UserError: `target` lies in a source whose images all take part, wherever they are.
    """
    if layout in ("folders", "images") and target.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{target} lies in {root}, whose images all take part: what is written there would be "
            "among them the next time. Name a folder outside."
        )


def root_of(data: Path) -> Path:
    """Folder that the paths of images are relative to."""
    return data.parent if data.is_file() else data


def layout_of(data: Path, selection: Selection) -> str:
    """How the images of `data` are laid out.

    Raises:
        UserError: The source is not there.
    """
    if not data.exists():
        raise UserError(f"There is no {data}. Give the folder (or CSV file) of the images.")
    if selection.layout != "auto":
        return selection.layout
    if data.is_file():
        return "csv"
    if (data / photographs.LABELS_FILE).is_file():
        return "csv"
    if ckplus.find_roots(data):
        return "ckplus"
    return photographs.detect(data)


def _why_nothing(layout: str, selection: Selection) -> str:
    if layout == "ckplus":
        return (
            f": the selection `{selection.frames}` takes labelled sequences, and none has a label "
            "that can be used. Is the label folder (Emotion/) beside the images? `--frames all` "
            "takes every frame, labelled or not.\n"
        )
    return ".\n"


def require_labels(data: Path, listing: Listing) -> None:
    """Make sure that there is something to train on, before work begins.

    Raises:
        UserError: No selected image is labelled.
    """
    if not listing.summary["selected_by_emotion"]:
        raise UserError(
            f"{data} has no labelled image, so there is nothing to train on. `fer-ray extract` "
            f"takes images without labels.\n{looked_for_and_found(data, listing.summary)}"
        )


def _is_synthetic(root: Path) -> bool:
    marker = root / SYNTHETIC_MARKER
    if not marker.is_file():
        return False
    try:
        return json.loads(marker.read_text(encoding="utf-8")).get("synthetic") is True
    except (ValueError, AttributeError):
        return False


def _list_ckplus(
    root: Path, selection: Selection, quality: Quality
) -> tuple[list[Row], dict[str, Any]]:
    roots = ckplus.find_roots(root)
    if roots is None:
        nothing = {"images_found": 0, "quality": []}
        raise UserError(f"{root} is no CK+ tree.\n{looked_for_and_found(root, nothing)}")
    sequences = ckplus.read_sequences(root, *roots, quality)
    figures = {
        "images_found": sum(len(sequence.frames) for sequence in sequences),
        "subjects": len({sequence.subject for sequence in sequences}),
        "sequences": len(sequences),
        "labelled_sequences": sum(sequence.label is not None for sequence in sequences),
    }
    if not sequences:
        raise UserError(f"{roots[0]}: looked for SUBJECT/SESSION/*.png (S005/001/…), found none.")
    return select(sequences, selection), figures


def select(sequences: list[Sequence], selection: Selection) -> list[Row]:
    """The rows that `selection` takes from CK+ sequences.

    In the study's selection one first frame is drawn per subject among those of its labelled
    sequences; subjects are drawn for in sorted order, each from one generator, so that the choice
    depends on the seed and the tree alone.
    """
    if selection.frames == "all":
        return [row for sequence in sequences for row in _rows(sequence, sequence.frames)]
    labelled = [sequence for sequence in sequences if sequence.label is not None]
    peaks = [row for sequence in labelled for row in _rows(sequence, sequence.frames[-1:])]
    with_neutral = [sequence for sequence in labelled if len(sequence.frames) > 1]
    if selection.frames == "study":
        with_neutral = _one_per_subject(with_neutral, selection.neutral_seed)
    return peaks + [row for one in with_neutral for row in _rows(one, one.frames[:1])]


def _one_per_subject(sequences: list[Sequence], seed: int) -> list[Sequence]:
    by_subject: dict[str, list[Sequence]] = {}
    for sequence in sequences:
        by_subject.setdefault(sequence.subject, []).append(sequence)
    generator = random.Random(seed)
    return [generator.choice(by_subject[subject]) for subject in sorted(by_subject)]


def _rows(sequence: Sequence, frames: tuple[Frame, ...]) -> list[Row]:
    return [_row(sequence, frame) for frame in frames]


def _row(sequence: Sequence, frame: Frame) -> Row:
    role, label = Role.OTHER, None
    if frame is sequence.frames[-1]:
        role, label = Role.PEAK, sequence.label
    elif frame is sequence.frames[0]:
        role, label = Role.NEUTRAL, 0
    return {
        "image_id": frame.image_id,
        "path": frame.path,
        "subject": sequence.subject,
        "session": sequence.session,
        "frame": frame.number,
        "role": role.value,
        "emotion": None if label is None else EMOTIONS[label],
        "label": label,
    }
