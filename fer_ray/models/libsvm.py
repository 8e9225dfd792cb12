"""What libsvm's optimiser needs to end, within scikit-learn's `SVC`."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

# Steps for a pair of classes: libsvm's own limit, which scikit-learn removes.
MAX_ITERATIONS = 10_000_000
# libsvm stores inner products in single precision, so closer rows cannot be told apart.
MIN_DISTANCE = 1e-6  # squared, relative to the mean squared length

logger = logging.getLogger(__name__)


def separate_duplicates(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add a millionth of the mean squared length to the diagonal if rows are nearly the same.

    The optimiser otherwise alternates between such rows without end. They are common among
    augmented copies: a rotation does not change features that are normalised by the eyes.

    Args:
        gram: Inner products among training images (n, n).
    """
    lengths = np.diagonal(gram)
    least = MIN_DISTANCE * lengths.mean()
    for row in range(1, len(gram)):  # row by row, since the matrix may fill the memory
        distances = lengths[row] + lengths[:row] - 2 * gram[row, :row]
        if distances.min() < least:
            separated = gram.copy()
            np.fill_diagonal(separated, lengths + least)
            return separated
    return gram


def report_limit(svm: Any) -> None:
    """Log a warning if the optimiser of a fitted `SVC`, or of one behind a scaler, was stopped."""
    steps = getattr(svm[-1] if isinstance(svm, Pipeline) else svm, "n_iter_", 0)
    if np.max(steps) >= MAX_ITERATIONS:
        logger.warning(
            "the optimiser of an SVM stopped after %s steps, so its results are approximate: pass "
            "--scale standard or a smaller --C", f"{MAX_ITERATIONS:,}",
        )  # fmt: skip
