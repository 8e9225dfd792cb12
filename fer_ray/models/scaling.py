"""Scaling of features that stand side by side in a union."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler


def weights(widths: tuple[int, ...]) -> NDArray[np.float64]:
    """What to divide standard scores by, so that each set of a union weighs the same (width,).

    Without it a set of 1,764 numbers drowns one of 44: both add their number to the mean squared
    distance of two images. The sum over all sets stays as it is, so that penalties mean what they
    mean on plain standard scores, and a single set is left as it is.

    Args:
        widths: Numbers of each set, in order.
    """
    return np.repeat(np.sqrt(np.array(widths) * len(widths) / sum(widths)), widths)


class SetScaler(StandardScaler):  # type: ignore[misc]
    """Standard scores, weighted by `weights`.

    Attributes:
        widths: Numbers of each set, in order; they add up to the features' number.
    """

    scale_: NDArray[np.float64]  # what is divided by

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "SetScaler":  # noqa: N803
        """As of `StandardScaler`."""
        super().fit(X, y, sample_weight)
        self.scale_ = self.scale_ * weights(self.widths)
        return self
