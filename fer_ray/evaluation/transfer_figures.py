"""Figures of a transfer matrix: one row per training and test source."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.evaluation.bootstrap import figures_with_intervals
from fer_ray.evaluation.experiments.summary import (
    BOOTSTRAP_SEED,
    accuracy_interval,
    independent_groups,
)
from fer_ray.evaluation.protocols.independent_training import EXCLUDING
from fer_ray.evaluation.transfer_cells import TransferCell, TransferSource
from fer_ray.schemas import PREDICTIONS_SCHEMA
from fer_ray.vocabulary import EMOTIONS

WITH_INTERVAL = ("accuracy", "macro_recall", "macro_f1", "log_loss", "calibration_error")

# `DIR/transfer.parquet`: one row per training and test source.
TRANSFER_SCHEMA = pa.schema(
    [
        pa.field("train", pa.string(), nullable=False),  # name of the training source
        pa.field("test", pa.string(), nullable=False),  # the same for folds of a source
        pa.field("protocol", pa.string(), nullable=False),
        pa.field("problem", pa.string()),  # why there are no figures; null if there are
        pa.field("train_images", pa.int32(), nullable=False),  # smallest training part of folds
        pa.field("images", pa.int32(), nullable=False),  # tested
        pa.field("subjects", pa.int32(), nullable=False),  # known ones among them
        pa.field("classes", pa.list_(pa.string()), nullable=False),  # tested
        *(
            pa.field(f"{name}{end}", pa.float64())
            for name in (*WITH_INTERVAL, "difference_to_own")
            for end in ("", "_low", "_high")
        ),
        pa.field("majority_share", pa.float64()),  # accuracy of always predicting that class
        pa.field("unknown_class", pa.int32(), nullable=False),  # not tested
        # Excluded training images by what they share with a test image; null if unknown.
        *(pa.field(f"excluded_{kind}", pa.int32()) for kind in EXCLUDING),
    ]
)

# `DIR/predictions.parquet`: one row per test image and training source.
TRANSFER_PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("train", pa.string(), nullable=False),
        pa.field("test", pa.string(), nullable=False),
        pa.field("subject", pa.string()),
        *(PREDICTIONS_SCHEMA.field(name) for name in PREDICTIONS_SCHEMA.names[1:]),
    ]
)


def shared_classes(predictions: list[pd.DataFrame]) -> list[int]:
    """Return the class codes that every cell with predictions tests, in order."""
    tested = [set(table["label"].tolist()) for table in predictions if len(table)]
    return sorted(set.intersection(*tested)) if tested else []


def transfer_rows(
    sources: list[TransferSource], cells: list[TransferCell], predictions: list[pd.DataFrame]
) -> list[dict[str, Any]]:
    """Compute the rows of `TRANSFER_SCHEMA`.

    Macro recall and macro F1 are means over the classes that all cells test, so that they can be
    compared.

    Args:
        sources: All sources.
        cells: The planned cells.
        predictions: Predictions of each cell (`TRANSFER_PREDICTIONS_SCHEMA`); empty tables for
            cells that cannot be computed.
    """
    shared = shared_classes(predictions)
    own = {cell.train: table for cell, table in zip(cells, predictions, strict=True) if cell.is_own}
    return [
        {
            "train": sources[cell.train].name,
            "test": sources[cell.test].name,
            "protocol": cell.protocol,
            "problem": cell.problem,
            "train_images": cell.train_images,
            "unknown_class": cell.unknown_class,
            "images": len(table),
            "subjects": table["subject"].nunique(),
            "classes": [EMOTIONS[code] for code in sorted(table["label"].unique())],
            **{f"excluded_{kind}": cell.excluded.get(kind) for kind in EXCLUDING},
            **(_figures(table, shared) if len(table) else {}),
            **({} if cell.is_own else _difference(table, own.get(cell.test))),
        }
        for cell, table in zip(cells, predictions, strict=True)
    ]


def _figures(predictions: pd.DataFrame, shared: list[int]) -> dict[str, float | None]:
    values, intervals = figures_with_intervals(predictions, shared)
    intervals["accuracy"] = accuracy_interval(predictions)[0]
    row: dict[str, float | None] = {}
    for name in WITH_INTERVAL:
        row |= _with_ends(name, values[name], intervals[name])
    row["majority_share"] = float(predictions["label"].value_counts(normalize=True).max())
    return row


def _difference(predictions: pd.DataFrame, own: pd.DataFrame | None) -> dict[str, float | None]:
    """Accuracy minus that of the test source's own folds on the same images, with its interval."""
    if own is None or not len(own) or not len(predictions):
        return {}
    pairs = predictions.merge(own, on="image_id", suffixes=("", "_own"), validate="one_to_one")
    if pairs.empty:
        return {}
    correct = [pairs[f"label{end}"] == pairs[f"predicted{end}"] for end in ("", "_own")]
    gains: NDArray[np.float64] = correct[0].to_numpy(dtype=float) - correct[1].to_numpy(dtype=float)
    units = independent_groups(pairs)[0].to_numpy(dtype=object)
    interval = metrics.subject_bootstrap_interval(gains, units, BOOTSTRAP_SEED)
    return _with_ends("difference_to_own", float(np.mean(gains)), interval)


def _with_ends(name: str, value: float, interval: tuple[float, float]) -> dict[str, float | None]:
    columns = {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}
    return {column: None if number != number else number for column, number in columns.items()}
