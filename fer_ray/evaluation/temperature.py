"""Temperature scaling: from class scores to calibrated probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOG_FACTORS = (-5.0, 5.0)  # bounds of the logarithm of an inverse temperature
UNIFORM_SHARES = (0.0, 0.9)  # bounds of the uniform share
NO_UNIFORM_SHARE = (0.0, 0.0)


@dataclass(frozen=True)
class TemperatureScaling:
    """Converts class scores to probabilities, without changing which class is the most probable.

    The temperature is that of Guo et al. (On calibration of modern neural networks, ICML 2017). A
    few scores are far apart but wrong; alone, a temperature can only allow for them by making all
    other probabilities too cautious. The uniform share allows for them.

    Attributes:
        inverse_temperature: Factor of the scores before the softmax.
        uniform_share: Weight of equal probabilities of all classes, 0 to 1; the softmax has the
            rest.

    Examples:
        >>> import numpy as np
        >>> TemperatureScaling(1.0, 0.1).probabilities(np.log([[0.8, 0.2]])).round(2)
        array([[0.77, 0.23]])
    """

    inverse_temperature: float
    uniform_share: float

    def probabilities(self, scores: Floats) -> Floats:
        """Convert scores (n, classes) to probabilities (n, classes).

        A score of −inf gives the probability 0. The result for a row does not depend on other rows.
        """
        classes = np.isfinite(scores)
        uniform = classes / classes.sum(axis=1, keepdims=True)
        softmax = _softmax(self.inverse_temperature * scores)
        mixed: Floats = (1 - self.uniform_share) * softmax + self.uniform_share * uniform
        return mixed


def fit_temperature_scaling(
    labels: NDArray[np.int8], scores: Floats, shares: tuple[float, float] = UNIFORM_SHARES
) -> TemperatureScaling:
    """Find the temperature and the uniform share with the lowest log loss.

    Args:
        labels: Class codes (n,).
        scores: Scores by class code (n, classes) from models that were not trained on the images;
            rows without a finite score are ignored.
        shares: Bounds of the uniform share.
    """
    from scipy.optimize import minimize

    known = np.isfinite(scores).any(axis=1)
    labels, scores = labels[known], scores[known]
    rows, scored = np.arange(len(labels)), np.isfinite(scores)
    finite = np.where(scored, scores, 0.0)
    uniform = scored[rows, labels] / scored.sum(axis=1)

    def loss_and_gradient(parameters: Floats) -> tuple[float, Floats]:
        factor, share = np.exp(parameters[0]), parameters[1]
        softmax = _softmax(factor * scores)
        true = softmax[rows, labels]
        probability = np.maximum((1 - share) * true + share * uniform, np.finfo(float).eps)
        distance = finite[rows, labels] - (softmax * finite).sum(axis=1)
        by_factor = (1 - share) * true * distance * factor / probability
        by_share = (uniform - true) / probability
        gradient = -np.array([by_factor.mean(), by_share.mean()])
        return float(-np.log(probability).mean()), gradient

    middle = min(0.05, shares[1])
    starts = [(log_factor, middle) for log_factor in np.linspace(*LOG_FACTORS, 11)]
    start = min(starts, key=lambda parameters: loss_and_gradient(np.array(parameters))[0])
    log_factor, share = minimize(
        loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=(LOG_FACTORS, shares)
    ).x
    return TemperatureScaling(float(np.exp(log_factor)), float(share))


def _softmax(scores: Floats) -> Floats:
    scaled = np.ascontiguousarray(scores)
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares
