"""The feature sets: one line each. A new one is a function and a line here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_ray.contracts import N_LANDMARKS
from fer_ray.features import geometry


@dataclass(frozen=True)
class FeatureSet:
    """A named feature vector made from landmarks.

    Attributes:
        width: Numbers per image.
        compute: From landmarks (n, 68, 2) in crop pixels to features (n, width).
        meaning: What it holds, in a few words.
    """

    width: int
    compute: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    meaning: str


FEATURE_SETS = {
    "reference": FeatureSet(
        4 * (N_LANDMARKS - 1), geometry.reference, "points 1–67: x, y, distance, angle (the study)"
    ),
    "reference68": FeatureSet(
        4 * N_LANDMARKS, geometry.reference68, "all 68 points: x, y, distance, angle"
    ),
    "landmarks": FeatureSet(
        2 * N_LANDMARKS, geometry.eye_normalised, "all 68 points, placed and scaled by the eyes"
    ),
}
