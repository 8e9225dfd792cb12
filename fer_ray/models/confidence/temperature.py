"""Temperature scaling: from class scores to calibrated probabilities."""

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation import metrics

Floats = NDArray[np.float64]

LOG_FACTORS = (-5.0, 5.0)  # bounds of the logarithm of an inverse temperature


def scaled_softmax(scores: Floats, factor: float) -> Floats:
    """Convert class scores (n, classes) to probabilities: the softmax of `factor` times the scores.

    A score of −inf gives the probability 0. The result for a row does not depend on other rows.
    """
    scaled = np.ascontiguousarray(factor * scores)
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def fit_inverse_temperature(labels: NDArray[np.int8], scores: Floats) -> float:
    """Find the factor of the scores whose softmax has the lowest log loss.

    It is the inverse of the temperature of Guo et al. (ICML 2017): one factor for all classes,
    which does not change any prediction.

    Args:
        labels: Class codes (n,).
        scores: Scores by class code (n, classes) from models that were not trained on the images;
            rows without a finite score are ignored.
    """
    from scipy.optimize import minimize_scalar

    known = np.isfinite(scores).any(axis=1)

    def loss(log_factor: float) -> float:
        return metrics.log_loss(labels[known], scaled_softmax(scores[known], np.exp(log_factor)))

    result = minimize_scalar(loss, bounds=LOG_FACTORS, method="bounded")
    return float(np.exp(result.x))
