"""Scaling of the feature sets of a union.

Bundles of scaled models refer to `SetScaler` by the path of this module.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler


def union_scale(widths: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the divisors of standard scores (width,) that give each set of a union equal weight.

    Without them, a set of 1,764 features outweighs one of 44, since each adds its width to the mean
    squared distance between images. The sum over all sets is unchanged, so penalties have the same
    meaning as on plain standard scores. The divisors of a single set are 1.

    Args:
        widths: Width of each set, in order.
    """
    return np.repeat(np.sqrt(np.array(widths) * len(widths) / sum(widths)), widths)


class SetScaler(StandardScaler):  # type: ignore[misc]
    """Standard scores in which each set of a union has the same weight.

    Args:
        widths: Width of each set, in order; their sum is the number of features.

    Attributes:
        scale_: Divisors (n_features,): standard deviations times `union_scale`.
    """

    scale_: NDArray[np.float64]

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "SetScaler":  # noqa: N803
        """Compute means and divisors, as `StandardScaler.fit`."""
        super().fit(X, y, sample_weight)
        self.scale_ = self.scale_ * union_scale(self.widths)
        return self
