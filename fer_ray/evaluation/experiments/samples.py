"""Samples: the labelled images of a run folder, with their features."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
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
from fer_ray.storage.parquet import read_schema, read_table, table_files
from fer_ray.vocabulary import EMOTIONS, USABLE_STATUSES, Role

MIN_IMAGES_TO_TEST = 5  # images of a class at which int(0.2 n) is at least one


@dataclass(frozen=True)
class Samples:
    """Labelled images that have features, by image_id.

    Attributes:
        image_ids: (n,).
        subjects: (n,), None where unknown.
        labels: Class codes (n,).
        features: (n, width) float64.
        mirrored: Features of the mirrored faces (n, width), where they were computed.
    """

    image_ids: list[str]
    subjects: list[str | None]
    labels: NDArray[np.int8]
    features: NDArray[np.float64]
    mirrored: NDArray[np.float64] | None = None


def read_samples(frames: Path, feature_set: str, paired: bool = False) -> Samples:
    """Read the labelled images of a run folder that have features.

    Args:
        frames: The run's folder `frames`.
        feature_set: Name of a feature set or union (`settings.feature_sets.sets_of`); the features
            of a union's sets are concatenated.
        paired: Read only peaks whose first frame also has features, as a delta requires.

    Raises:
        UserError: There are no such images, or the feature set was not extracted.

    Examples:
        >>> samples = read_samples(Path("results/frames"), "hog+landmarks")
        >>> samples.features.shape[1]  # 1764 of hog and 136 of landmarks
        1900
    """
    parts = sets_of(feature_set)
    table = _read_with_features(frames, feature_set)
    labels = table["label"].to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(np.isin(labels, range(len(EMOTIONS))))
    if not len(rows):
        raise UserError(
            "No labelled image has features, so there is nothing to train on. Check that the "
            f"source is labelled and that faces were found. {frames}: {_outcomes(frames)}."
        )
    first = rows
    if paired or needs_sequence(feature_set):
        rows, first = _pairs(table, rows)
    features = []
    for part in parts:
        values = _features(frames.parent, base_of(part), table)
        features.append(values[rows] - values[first] if is_delta(part) else values[rows])
    selected = table.select(["image_id", "subject"]).take(rows)
    return Samples(
        selected["image_id"].to_pylist(),
        selected["subject"].to_pylist(),
        labels[rows].astype(np.int8),
        np.hstack(features).astype(np.float64),
    )


def _outcomes(frames: Path) -> str:
    """Numbers of images by label and status, in words."""
    table = read_table(frames, columns=["status", "emotion"])
    counts = Counter(table["status"].to_pylist())
    labelled = table.num_rows - table["emotion"].null_count
    outcomes = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return f"{labelled} of {table.num_rows} images are labelled; {outcomes}"


def _read_with_features(frames: Path, feature_set: str) -> pa.Table:
    """The rows that have features, by image_id."""
    stored = stored_sets(feature_set)
    columns = [feature_column(name) for name in stored]
    needs_mesh = any(FEATURE_SETS[name].needs_mesh for name in stored)
    if not set(columns) <= set(read_schema(table_files(frames)[0]).names):
        raise UserError(
            f"{frames} does not contain the feature set {feature_set}. Extract it with "
            f"--set extract.features.sets='[{', '.join(stored)}]'"
            + needs_mesh
            * " and --profile mesh"
        )
    return read_table(
        frames,
        columns=["image_id", "subject", "session", "role", "label", *columns],
        filters=[("status", "in", [status.value for status in USABLE_STATUSES])],
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
            "A delta is the difference between a peak and the first frame of its sequence, and no "
            "sequence has features of both. Extract them with --frames first-and-peak."
        )
    return np.array(peaks), np.array([first[sequences[row]] for row in peaks])


def _features(out: Path, name: str, table: pa.Table) -> NDArray[np.float32]:
    """Features of one set (n, width), from the table itself or from those of a backbone."""
    if name in FEATURE_SETS:
        flat = table[feature_column(name)].combine_chunks().flatten().to_numpy()
        features: NDArray[np.float32] = flat.reshape(table.num_rows, -1)
        return features
    return read_features(out, name, table["image_id"].to_pylist())


def select_classes(samples: Samples, classes: Classes) -> Samples:
    """Select the samples of a variant's classes.

    Args:
        samples: Samples of any classes.
        classes: Name of the variant (`settings.training.LEFT_OUT`).

    Raises:
        UserError: No sample belongs to these classes.
    """
    excluded = [EMOTIONS.index(name) for name in LEFT_OUT[classes]]
    rows = np.flatnonzero(~np.isin(samples.labels, excluded))
    if not len(rows):
        raise UserError(f"No image belongs to the classes of --classes {classes}. Use --classes 8.")
    return Samples(
        [samples.image_ids[row] for row in rows],
        [samples.subjects[row] for row in rows],
        samples.labels[rows],
        samples.features[rows],
    )


def sample_warnings(samples: Samples, classes: Classes = "8") -> list[str]:
    """Return warnings for readers of the trials: classes with few images, or none."""
    counts = Counter(samples.labels.tolist())
    few = [
        f"{EMOTIONS[code]} ({n})" for code, n in sorted(counts.items()) if n < MIN_IMAGES_TO_TEST
    ]
    expected = [name for name in EMOTIONS if name not in LEFT_OUT[classes]]
    absent = [name for name in expected if EMOTIONS.index(name) not in counts]
    warnings = []
    if few:
        warnings.append(
            f"Fewer than {MIN_IMAGES_TO_TEST} images: {', '.join(few)}. The figures of "
            "these classes are not meaningful, and random splits test none of their images."
        )
    if absent:
        warnings.append(f"No images: {', '.join(absent)}.")
    return warnings
