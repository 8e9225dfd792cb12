"""Prediction sets with a given coverage: split conformal prediction.

A set contains every class whose probability is at least a threshold. The threshold is a quantile of
the probabilities that the model gives to the true classes of images that it was not trained on
(Vovk et al., Algorithmic Learning in a Random World, 2005; Sadinle et al., Least ambiguous
set-valued classifiers with bounded error levels, Journal of the American Statistical Association
114, 2019). If new images come from the same distribution, the set contains the true class with
the given coverage, whether or not the probabilities are calibrated. The coverage is an average over
all images, not a guarantee for each class.
"""

import numpy as np
from numpy.typing import NDArray

SET_COVERAGE = 0.9


def set_threshold(p_true: NDArray[np.floating], coverage: float = SET_COVERAGE) -> float:
    """Compute the lowest probability of a class in a prediction set.

    Args:
        p_true: Probabilities of the true classes (n,).
        coverage: Share of the sets that are to contain the true class.

    Returns:
        The threshold; 0 if there are too few images for the coverage, so that every set contains
        all classes.

    Examples:
        >>> set_threshold(np.arange(1, 20) / 20)  # the second lowest of 19 probabilities
        0.1
    """
    rank = int(np.floor((len(p_true) + 1) * (1 - coverage) + 1e-9))
    return float(np.sort(p_true)[rank - 1]) if rank else 0.0


def in_prediction_set(probabilities: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Return which classes the prediction set of each image contains (n, classes).

    A set is empty if even the most probable class is less probable than the threshold.
    """
    return np.asarray(probabilities) >= threshold
