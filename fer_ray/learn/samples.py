"""What trials are made on: the labelled images of a run folder that have features."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_ray.config import LEFT_OUT, Classes
from fer_ray.contracts import DESCRIBED, EMOTIONS, feature_column
from fer_ray.deep.tables import read_features
from fer_ray.errors import UserError
from fer_ray.features.table import FEATURE_SETS, sets_of, stored_sets

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


def read_samples(frames: Path, feature_set: str) -> Samples:
    """The labelled rows of `frames` that have features; a union's sets stand side by side.

    Raises:
        UserError: There are none, or the feature set was not extracted.
    """
    stored, sets = stored_sets(feature_set), sets_of(feature_set)
    columns = [feature_column(name) for name in stored]
    if not set(columns) <= set(pq.read_schema(next(frames.glob("*.parquet"))).names):
        raise UserError(
            f"{frames} lacks the feature set {feature_set}. Extract it: "
            f"--set extract.features.sets='[{', '.join(stored)}]'"
        )
    table = pq.read_table(
        frames,
        columns=["image_id", "subject", "label", *columns],
        filters=[
            ("status", "in", [status.value for status in DESCRIBED]),
            ("label", "in", list(range(len(EMOTIONS)))),
        ],
    ).sort_by("image_id")
    if not table.num_rows:
        raise UserError(
            "No labelled image has features, so there is nothing to train on. Is the source "
            "labelled, and were faces found? See the counts by status above or in extract.json."
        )
    return Samples(
        table["image_id"].to_pylist(),
        table["subject"].to_pylist(),
        table["label"].to_numpy().astype(np.int8),
        np.hstack([_features(frames.parent, name, table) for name in sets]).astype(np.float64),
    )


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
