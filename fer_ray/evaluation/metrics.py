"""Figures of merit, as pure functions on arrays.

Labels are class codes `0 … n_classes - 1`; probabilities are (n, n_classes), rows summing to 1.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Labels = NDArray[np.integer]


def accuracy(labels: Labels, predicted: Labels) -> float:
    """Share of correct answers among `labels` (n,)."""
    return float(np.mean(np.asarray(labels) == np.asarray(predicted)))


def confusion_counts(labels: Labels, predicted: Labels, n_classes: int) -> NDArray[np.int64]:
    """Counts (n_classes, n_classes); rows are true classes, columns predicted ones."""
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (np.asarray(labels, dtype=int), np.asarray(predicted, dtype=int)), 1)
    return counts


def row_normalised(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts divided by their row's sum; a class without images gives a row of nan."""
    totals = counts.sum(axis=1, keepdims=True).astype(float)
    shares: NDArray[np.float64] = np.full(counts.shape, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def recalls(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall of each class (n_classes,) from confusion counts; nan where it has no images."""
    return np.diagonal(row_normalised(counts)).copy()


def macro_recall(counts: NDArray[np.int64]) -> float:
    """Mean recall over the classes that have images (balanced accuracy)."""
    return float(np.nanmean(recalls(counts)))


def macro_f1(counts: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that have images."""
    hits = np.diagonal(counts)
    denominator = counts.sum(axis=0) + counts.sum(axis=1)
    present = counts.sum(axis=1) > 0
    return float(np.mean(2 * hits[present] / denominator[present]))


def log_loss(labels: Labels, probabilities: NDArray[np.floating]) -> float:
    """Mean negative log probability of the true class, in nats.

    Probabilities are clipped at the machine epsilon of float64, as scikit-learn does, so that a
    class unknown to the model costs about 36 nats and not infinity.
    """
    p_true = np.asarray(probabilities, dtype=float)[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.maximum(p_true, np.finfo(float).eps))))


def expected_calibration_error(
    labels: Labels, probabilities: NDArray[np.floating], n_bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over bins of confidence, by their share of images.

    Confidence is the highest probability of an image; the bins are of equal width, closed above,
    and 15 as in Guo et al. (On calibration of modern neural networks, ICML 2017). With few images
    a bin the figure lies above 0 even for a perfectly calibrated model.
    """
    confidence = np.max(probabilities, axis=1).astype(float)
    correct = np.argmax(probabilities, axis=1) == np.asarray(labels)
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def wilson_interval(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a share among `n` independent cases; nan without any.

    It holds its coverage for few cases and for shares near 0 or 1 (Wilson, Journal of the American
    Statistical Association 22, 1927).
    """
    if n == 0:
        return float("nan"), float("nan")
    z = float(stats.norm.ppf(0.5 + level / 2))
    weight = z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z * np.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def resampled_interval(
    scores: NDArray[np.floating], test_to_train: float, level: float = 0.95
) -> tuple[float, float]:
    """Corrected resampled t interval of the mean score over repeated random splits.

    Training sets of random splits overlap, so the plain t interval is too narrow; the variance is
    multiplied by `1/n + test_to_train` in place of `1/n` (Nadeau and Bengio, Machine Learning 52,
    2003).

    Args:
        scores: One score per trial, (n,), n ≥ 2.
        test_to_train: Test images divided by training images.
        level: Coverage.
    """
    n = len(scores)
    spread = np.sqrt((1 / n + test_to_train) * np.var(scores, ddof=1))
    half = float(stats.t.ppf(0.5 + level / 2, n - 1) * spread)
    mean = float(np.mean(scores))
    return max(0.0, mean - half), min(1.0, mean + half)


def subject_bootstrap_interval(
    correct: NDArray[np.bool_] | NDArray[np.floating],
    subjects: NDArray[np.object_],
    seed: int,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile interval of accuracy when whole subjects are drawn again with replacement.

    Images of one subject are not independent; drawing subjects keeps them together.

    Args:
        correct: Whether each image was answered correctly, (n,); or the gain of one model over
            another, from -1 to 1, for the interval of a difference.
        subjects: Its subject, (n,).
        seed: Seed of the draws.
        level: Coverage.
        n_resamples: Number of draws.
    """
    codes, index = np.unique(subjects.astype(str), return_inverse=True)
    hits = np.bincount(index, weights=correct.astype(float), minlength=len(codes))
    sizes = np.bincount(index, minlength=len(codes))
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(codes), size=(n_resamples, len(codes)))
    accuracies = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(accuracies, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
