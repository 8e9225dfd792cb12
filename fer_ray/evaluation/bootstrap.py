"""Metrics of predictions and their intervals, by bootstrap over subjects."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.summary import BOOTSTRAP_SEED, independent_groups
from fer_ray.vocabulary import EMOTIONS

RESAMPLES = 2000
LEVEL = 0.95
N_CLASSES = len(EMOTIONS)
N_CELLS = N_CLASSES * N_CLASSES  # of a confusion matrix
FIGURES = ("accuracy", "macro_recall", "macro_f1", "log_loss", "calibration_error")

Floats = NDArray[np.float64]


def prediction_sums(predictions: pd.DataFrame) -> Floats:
    """Return the terms of each prediction whose sums determine the metrics of any set of them.

    Args:
        predictions: `schemas.PREDICTIONS_SCHEMA`.

    Returns:
        (n, 80): the cell of the confusion matrix, flattened (64), the log loss (1), and the
        difference between correctness and confidence in its bin of confidence (15).
    """
    labels, predicted = predictions["label"].to_numpy(), predictions["predicted"].to_numpy()
    probabilities = np.stack(predictions["probabilities"].to_list()).astype(float)
    rows = np.arange(len(labels))
    sums = np.zeros((len(labels), N_CELLS + 1 + metrics.CALIBRATION_BINS))
    sums[rows, labels.astype(np.int64) * N_CLASSES + predicted] = 1
    sums[:, N_CELLS] = metrics.image_log_losses(labels, probabilities)
    bins, gaps = metrics.calibration_gaps(labels, probabilities)
    sums[rows, N_CELLS + 1 + bins] = gaps
    return sums


def figures_of(
    total: Floats, classes: Sequence[int] | None = None, overall: Floats | None = None
) -> Floats:
    """Compute `FIGURES` from summed rows of `prediction_sums`.

    Args:
        total: The sum (80,).
        classes: Class codes that recall and F1 are averaged over. None: those with images.
        overall: Recall and F1 by class (2, 8) of all predictions, for classes without images in a
            bootstrap sample. Leaving such a class out would raise the mean if the model never
            predicts it correctly.
    """
    by_class = recalls_and_f1(total)
    if overall is not None:
        by_class = np.where(np.isnan(by_class), overall, by_class)
    if classes is not None:
        by_class = by_class[:, list(classes)]
    present = by_class[:, ~np.isnan(by_class[0])]
    recall, f1 = present.mean(axis=1) if present.size else (float("nan"), float("nan"))
    counts = total[:N_CELLS]
    n = counts.sum()
    correct = counts.reshape(N_CLASSES, -1).trace()
    calibration = np.abs(total[N_CELLS + 1 :]).sum()
    return np.array([correct / n, recall, f1, total[N_CELLS] / n, calibration / n])


def recalls_and_f1(total: Floats) -> Floats:
    """Recall and F1 of each class (2, 8) from a sum (80,); NaN for classes without images."""
    counts = total[:N_CELLS].reshape(N_CLASSES, -1)
    images, predictions = counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = np.diagonal(counts) / images
        f1 = np.where(images > 0, 2 * np.diagonal(counts) / (images + predictions), np.nan)
    return np.stack([recalls, f1])


def figures_with_intervals(
    predictions: pd.DataFrame, classes: Sequence[int] | None = None
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Compute `FIGURES` and their 95% intervals over bootstrap samples of subjects.

    Samples are of images if the subject of one is unknown.

    Args:
        predictions: `schemas.PREDICTIONS_SCHEMA` plus `subject`; one per image.
        classes: Class codes that recall and F1 are averaged over. None: those with images.
    """
    sums = prediction_sums(predictions)
    units = independent_groups(predictions)[0].to_numpy().astype(str)
    by_unit, overall = sum_by_unit(sums, units), recalls_and_f1(sums.sum(axis=0))
    samples = [figures_of(total, classes, overall) for total in resample(by_unit)]
    values = figures_of(sums.sum(axis=0), classes)
    low, high = interval_ends(values, np.array(samples))
    low = np.maximum(low, 0)  # as none of the figures is negative
    intervals = {name: (float(low[at]), float(high[at])) for at, name in enumerate(FIGURES)}
    return dict(zip(FIGURES, values.tolist(), strict=True)), intervals


def sum_by_unit(sums: Floats, units: NDArray[np.str_]) -> Floats:
    """Sum rows (n, width) by unit (n,); units are in the order of their names."""
    names, index = np.unique(units, return_inverse=True)
    by_unit = np.zeros((len(names), sums.shape[1]))
    np.add.at(by_unit, index, sums)
    return by_unit


def resample(by_unit: Floats) -> "list[Floats]":
    """Return the sums (width,) of `RESAMPLES` samples of units (units, width) with replacement."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    n = len(by_unit)
    return [
        np.bincount(generator.integers(0, n, n), minlength=n) @ by_unit for _ in range(RESAMPLES)
    ]


def interval_ends(values: Floats, samples: Floats) -> tuple[Floats, Floats]:
    """Compute the ends of the 95% interval of each of `FIGURES`.

    They are percentiles, except for the calibration error. With fewer different images, its bins
    deviate more by chance, so its percentiles lie above it; its interval is a normal one with the
    standard deviation of the samples.

    Args:
        values: The figures, or differences between them (5,).
        samples: Those of bootstrap samples (samples, 5).
    """
    low, high = np.nanquantile(samples, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    at = FIGURES.index("calibration_error")
    half = special.ndtri(0.5 + LEVEL / 2) * np.nanstd(samples[:, at])
    low[at], high[at] = values[at] - half, values[at] + half
    return low, high
