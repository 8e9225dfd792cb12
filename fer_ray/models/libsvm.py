"""What libsvm's optimiser needs to end, within scikit-learn's `SVC`."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

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
    distances = lengths[:, None] + lengths[None] - 2 * gram
    np.fill_diagonal(distances, np.inf)
    least = MIN_DISTANCE * lengths.mean()
    return gram + least * np.eye(len(gram)) if distances.min() < least else gram


@contextmanager
def reported_limit(name: str) -> Iterator[None]:
    """Log a warning if an SVM reaches `MAX_ITERATIONS`, with the name of what is fitted."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for one in caught:
        if not issubclass(one.category, ConvergenceWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if any(issubclass(one.category, ConvergenceWarning) for one in caught):
        logger.warning(
            "%s: the optimiser of the SVM stopped after %s steps, so its results are approximate. "
            "Pass --scale standard or a smaller --C.",
            name, f"{MAX_ITERATIONS:,}",
        )  # fmt: skip
