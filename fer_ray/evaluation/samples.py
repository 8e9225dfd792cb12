"""What trials are made on: the labelled images of a run folder that have features."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.features.bottleneck_features import read_features
from fer_ray.schemas import feature_column
from fer_ray.settings.feature_sets import (
    FEATURE_SETS,
    base_of,
    is_delta,
    needs_sequence,
    sets_of,
    stored_sets,
)
from fer_ray.settings.training import LEFT_OUT, Classes
from fer_ray.storage.parquet import read_table
from fer_ray.vocabulary import DESCRIBED, EMOTIONS, Role

FEWEST_TO_TEST = 5  # images of a class of which int(0.2 n) is at least one


@dataclass(frozen=True)
class Samples:
    """The labelled images that have features, by image_id.

    Attributes:
        image_ids: (n,).
        subjects: (n,), None where unknown.
        labels: Class codes (n,).
        features: (n, width) float64.
    """

    image_ids: list[str]
    subjects: list[str | None]
    labels: NDArray[np.int8]
    features: NDArray[np.float64]


def read_samples(frames: Path, feature_set: str, paired: bool = False) -> Samples:
    """The labelled rows of `frames` that have features; a union's sets stand side by side.

    Args:
        frames: Folder of a run.
        feature_set: A name (`features.table.sets_of`).
        paired: Take only peaks whose sequence's first frame has features too, as a delta does.

    Raises:
        UserError: There are none, or the feature set was not extracted.
    """
    parts = sets_of(feature_set)
    table = _read_described(frames, feature_set)
    labels = table["label"].to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(np.isin(labels, range(len(EMOTIONS))))
    if not len(rows):
        raise UserError(
            "No labelled image has features, so there is nothing to train on. Is the source "
            f"labelled, and were faces found? Of {frames}: {_outcomes(frames)}."
        )
    first = rows
    if paired or needs_sequence(feature_set):
        rows, first = _pairs(table, rows)
    found = []
    for part in parts:
        values = _features(frames.parent, base_of(part), table)
        found.append(values[rows] - values[first] if is_delta(part) else values[rows])
    taken = table.select(["image_id", "subject"]).take(rows)
    return Samples(
        taken["image_id"].to_pylist(),
        taken["subject"].to_pylist(),
        labels[rows].astype(np.int8),
        np.hstack(found).astype(np.float64),
    )


def _outcomes(frames: Path) -> str:
    """Images by label and status, in words."""
    table = read_table(frames, columns=["status", "emotion"])
    counts = Counter(table["status"].to_pylist())
    labelled = table.num_rows - table["emotion"].null_count
    outcomes = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return f"{labelled} of {table.num_rows} images are labelled; {outcomes}"


def _read_described(frames: Path, feature_set: str) -> pa.Table:
    """The rows that have features, by image_id."""
    stored = stored_sets(feature_set)
    columns = [feature_column(name) for name in stored]
    if not set(columns) <= set(pq.read_schema(next(frames.glob("*.parquet"))).names):
        raise UserError(
            f"{frames} lacks the feature set {feature_set}. Extract it: "
            f"--set extract.features.sets='[{', '.join(stored)}]'"
        )
    return read_table(
        frames,
        columns=["image_id", "subject", "session", "role", "label", *columns],
        filters=[("status", "in", [status.value for status in DESCRIBED])],
    ).sort_by("image_id")


def _pairs(table: pa.Table, labelled: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Rows of labelled peaks, and of the first frames of the same sequences."""
    sequences = list(zip(table["subject"].to_pylist(), table["session"].to_pylist(), strict=True))
    roles = table["role"].to_pylist()
    first = {
        sequence: row
        for row, (sequence, role) in enumerate(zip(sequences, roles, strict=True))
        if role == Role.NEUTRAL and sequence[1] is not None
    }
    peaks = [row for row in labelled if roles[row] == Role.PEAK and sequences[row] in first]
    if not peaks:
        raise UserError(
            "A delta is taken between a peak and the first frame of its sequence, and no sequence "
            "has both with features. Extract them: --frames first-and-peak"
        )
    return np.array(peaks), np.array([first[sequences[row]] for row in peaks])


def _features(out: Path, name: str, table: pa.Table) -> NDArray[np.float32]:
    """One set (n, width): from the table itself, or those of a backbone."""
    if name in FEATURE_SETS:
        flat = table[feature_column(name)].combine_chunks().flatten().to_numpy()
        found: NDArray[np.float32] = flat.reshape(table.num_rows, -1)
        return found
    return read_features(out, name, table["image_id"].to_pylist())


def of_classes(samples: Samples, classes: Classes) -> Samples:
    """The samples whose emotion the variant `classes` does not leave out.

    Raises:
        UserError: None is left.
    """
    absent = [EMOTIONS.index(name) for name in LEFT_OUT[classes]]
    kept = np.flatnonzero(~np.isin(samples.labels, absent))
    if not len(kept):
        raise UserError(f"No image is of any of the {classes} classes: take --classes 8.")
    return Samples(
        [samples.image_ids[row] for row in kept],
        [samples.subjects[row] for row in kept],
        samples.labels[kept],
        samples.features[kept],
    )


def warnings_for(samples: Samples, classes: Classes = "8") -> list[str]:
    """What a reader of the trials ought to know about the samples of a variant."""
    counts = Counter(samples.labels.tolist())
    few = [f"{EMOTIONS[code]} ({n})" for code, n in sorted(counts.items()) if n < FEWEST_TO_TEST]
    expected = [name for name in EMOTIONS if name not in LEFT_OUT[classes]]
    absent = [name for name in expected if EMOTIONS.index(name) not in counts]
    found = []
    if few:
        found.append(
            f"Fewer than {FEWEST_TO_TEST} images: {', '.join(few)}. Random splits test none of "
            "them, and no figure for these classes means much."
        )
    if absent:
        found.append(f"No image at all: {', '.join(absent)}.")
    return found
