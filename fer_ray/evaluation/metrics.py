"""Metrics and confidence intervals, as pure functions of arrays.

Labels are class codes `0 … n_classes - 1`; probabilities are (n, n_classes), and each row sums
to 1. These are metrics that scikit-learn does not have or defines differently, and simple ones that
a command needs even if it trains nothing: importing scikit-learn takes longer than such a command.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special  # its module `stats` takes ten times as long to import

Labels = NDArray[np.integer]

CALIBRATION_BINS = 15  # bins of confidence
CHANCE_DRAWS = 500  # simulations of the calibration error that chance alone causes


def accuracy(labels: Labels, predicted: Labels) -> float:
    """Compute the share of correct predictions.

    Args:
        labels: True class codes (n,).
        predicted: Predicted class codes (n,).
    """
    return float(np.mean(labels == predicted))


def confusion_counts(labels: Labels, predicted: Labels, n_classes: int) -> NDArray[np.int64]:
    """Count images by true class (rows) and predicted class (columns).

    Args:
        labels: True class codes (n,).
        predicted: Predicted class codes (n,).
        n_classes: Number of classes.

    Returns:
        Counts (n_classes, n_classes) int64.
    """
    cells = labels.astype(np.int64) * n_classes + predicted
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


def macro_recall_and_f1(labels: Labels, predicted: Labels) -> tuple[float, float]:
    """Compute mean recall (balanced accuracy) and mean F1 over the classes that have images.

    By default, scikit-learn also averages over classes that occur only among the predictions.

    Args:
        labels: True class codes (n,).
        predicted: Predicted class codes (n,).
    """
    size = int(max(labels.max(), predicted.max())) + 1
    counts = confusion_counts(labels, predicted, size)
    images, predictions = counts.sum(axis=1), counts.sum(axis=0)
    tested, correct = images > 0, np.diagonal(counts)
    recalls = correct[tested] / images[tested]
    f1 = 2 * correct[tested] / (images + predictions)[tested]
    return float(np.mean(recalls)), float(np.mean(f1))


def row_normalised(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide confusion counts (n_classes, n_classes) by the sum of their row.

    A class without images gives a row of NaN, where scikit-learn's normalisation gives zeros.
    """
    totals = counts.sum(axis=1, keepdims=True).astype(float)
    shares: NDArray[np.float64] = np.full(counts.shape, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def class_recalls(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the recall of each class (n_classes,) from confusion counts; NaN without images."""
    return np.diagonal(row_normalised(counts)).copy()


def image_log_losses(labels: Labels, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the negative log probability of the true class of each image (n,), in nats.

    As in scikit-learn, probabilities are clipped at the machine epsilon of float64, so that a class
    unknown to the model costs about 36 nats rather than infinity.
    """
    p_true = np.asarray(probabilities, dtype=float)[np.arange(len(labels)), labels]
    losses: NDArray[np.float64] = -np.log(np.maximum(p_true, np.finfo(float).eps))
    return losses


def log_loss(labels: Labels, probabilities: NDArray[np.floating]) -> float:
    """Return the mean of `image_log_losses`.

    scikit-learn's `log_loss` raises if a probability is NaN, as those of a diverged network are.
    Its input checks also take hundreds of times as long as the computation, which counts where a
    search fits a temperature to each candidate.
    """
    return float(image_log_losses(labels, probabilities).mean())


def calibration_gaps(
    labels: Labels, probabilities: NDArray[np.floating], n_bins: int = CALIBRATION_BINS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the bin of confidence of each image, and its correctness (0 or 1) minus confidence.

    Args:
        labels: True class codes (n,).
        probabilities: (n, n_classes).
        n_bins: Number of bins of equal width, closed above.
    """
    confidence = np.max(probabilities, axis=1).astype(float)
    correct = np.argmax(probabilities, axis=1) == np.asarray(labels)
    return _bins_of(confidence, n_bins), correct - confidence


def expected_calibration_error(
    labels: Labels, probabilities: NDArray[np.floating], n_bins: int = CALIBRATION_BINS
) -> float:
    """Compute the mean gap between confidence and accuracy over bins of confidence.

    Confidence is the highest probability of an image. Bins have equal width, are closed above and
    are weighted by their share of the images; 15 of them as in Guo et al. (On calibration of modern
    neural networks, ICML 2017). With few images per bin, the error exceeds 0 even for a perfectly
    calibrated model (`chance_calibration_error`).
    """
    bins, gaps = calibration_gaps(labels, probabilities, n_bins)
    return _calibration_error(bins, gaps, n_bins)


def chance_calibration_error(
    probabilities: NDArray[np.floating], n_bins: int = CALIBRATION_BINS, seed: int = 0
) -> float:
    """Compute the calibration error that a perfectly calibrated model would have on average.

    It is simulated: each prediction is independently correct with its probability (Bröcker and
    Smith, Weather and Forecasting 22, 2007, who derive bars for reliability diagrams from it).

    Args:
        probabilities: (n, n_classes), one row per image.
        n_bins: As for `expected_calibration_error`.
        seed: Seed of the simulation.

    Examples:
        >>> import numpy as np
        >>> round(chance_calibration_error(np.tile([0.5, 0.5], (100, 1))), 2)
        0.04
    """
    confidence = np.max(probabilities, axis=1).astype(float)
    bins = _bins_of(confidence, n_bins)
    generator, errors = np.random.default_rng(seed), []
    for _ in range(CHANCE_DRAWS):
        gaps = (generator.random(len(confidence)) < confidence) - confidence
        errors.append(_calibration_error(bins, gaps, n_bins))
    return float(np.mean(errors))


def _bins_of(confidence: NDArray[np.float64], n_bins: int) -> NDArray[np.int64]:
    return np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)


def _calibration_error(bins: NDArray[np.int64], gaps: NDArray[np.float64], n_bins: int) -> float:
    return float(np.abs(np.bincount(bins, weights=gaps, minlength=n_bins)).sum() / len(gaps))


def wilson_interval(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Compute the score interval of a share among `n` independent cases; NaN if `n` is 0.

    It keeps its coverage for few cases and for shares near 0 or 1 (Wilson, Journal of the American
    Statistical Association 22, 1927).
    """
    if n == 0:
        return float("nan"), float("nan")
    z = float(special.ndtri(0.5 + level / 2))
    weight = z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z * np.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def resampled_interval(
    scores: NDArray[np.floating], test_to_train: float, level: float = 0.95
) -> tuple[float, float]:
    """Compute the corrected resampled t interval of the mean score over repeated random splits.

    The training sets of random splits overlap, so the plain t interval is too narrow. The variance
    is multiplied by `1/n + test_to_train` instead of `1/n` (Nadeau and Bengio, Machine Learning 52,
    2003).

    Args:
        scores: One score per trial, (n,), n ≥ 2.
        test_to_train: Number of test images divided by the number of training images.
        level: Coverage.
    """
    n = len(scores)
    spread = np.sqrt((1 / n + test_to_train) * np.var(scores, ddof=1))
    half = float(special.stdtrit(n - 1, 0.5 + level / 2) * spread)
    mean = float(np.mean(scores))
    return max(0.0, mean - half), min(1.0, mean + half)


def subject_bootstrap_interval(
    correct: NDArray[np.bool_] | NDArray[np.floating],
    subjects: NDArray[np.object_],
    seed: int,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """Compute the percentile interval of accuracy over bootstrap samples of subjects.

    Images of one subject are not independent. Resampling subjects keeps them together.

    Args:
        correct: Whether each image was predicted correctly, (n,); or the gain of one model over
            another, from -1 to 1, for the interval of a difference.
        subjects: Subject of each image, (n,).
        seed: Seed of the resampling.
        level: Coverage.
        n_resamples: Number of bootstrap samples.
    """
    codes, index = np.unique(subjects.astype(str), return_inverse=True)
    hits = np.bincount(index, weights=correct.astype(float), minlength=len(codes))
    sizes = np.bincount(index, minlength=len(codes))
    rng = np.random.default_rng(seed)
    sampled = rng.integers(0, len(codes), size=(n_resamples, len(codes)))
    accuracies = hits[sampled].sum(axis=1) / sizes[sampled].sum(axis=1)
    low, high = np.quantile(accuracies, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
