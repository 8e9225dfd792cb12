"""Scaling of the feature sets of a union.

Bundles of scaled models refer to `SetScaler` by the path of this module.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler


def union_scale(widths: tuple[int, ...], weights: tuple[float, ...] = ()) -> NDArray[np.float64]:
    """Return the divisors of standard scores (width,) that give each set of a union its weight.

    Without them, a set of 1,764 features outweighs one of 44, since each adds its width to the mean
    squared distance between images. The sum over all sets is unchanged, so penalties have the same
    meaning as on plain standard scores. The divisors of a single set are 1.

    Args:
        widths: Width of each set, in order.
        weights: What each set adds to the mean squared distance, relative to the others. Empty:
            all sets add the same.

    Examples:
        >>> union_scale((1, 4), weights=(1.0, 3.0)).round(3)
        array([0.894, 1.033, 1.033, 1.033, 1.033])
    """
    relative = np.array(weights or (1.0,) * len(widths))
    return np.repeat(np.sqrt(np.array(widths) * (relative.sum() / relative) / sum(widths)), widths)


class SetScaler(StandardScaler):  # type: ignore[misc]
    """Standard scores in which each set of a union has the same weight, or given weights.

    Args:
        widths: Width of each set, in order; their sum is the number of features.
        weights: Weight of each set, as for `union_scale`.

    Attributes:
        scale_: Divisors (n_features,): standard deviations times `union_scale`.
    """

    scale_: NDArray[np.float64]

    def __init__(self, widths: tuple[int, ...], weights: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.widths = widths
        self.weights = weights

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "SetScaler":  # noqa: N803
        """Compute means and divisors, as `StandardScaler.fit`."""
        super().fit(X, y, sample_weight)
        self.scale_ = self.scale_ * union_scale(self.widths, self.weights)
        return self
