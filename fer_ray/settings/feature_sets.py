"""The feature sets: one line each. A new one is a function and a line here."""

import pkgutil
from dataclasses import dataclass
from typing import Any

from fer_ray.settings.backbones import BACKBONES
from fer_ray.vocabulary import N_LANDMARKS

UNION = "+"  # joins the names of sets that are taken together, as in hog+landmarks
# Before a set's name: the peak's numbers less those of the same sequence's first frame, as Lucey et
# al. (CVPR 2010 workshops) took shape and appearance. `delta` alone is that of `landmarks`.
DELTA = "delta"


@dataclass(frozen=True)
class FeatureSet:
    """A named feature vector of a face.

    Attributes:
        width: Numbers per image.
        function: The function that computes it, as `module:name` below `fer_ray.features`. Settings
            name it, so that reading settings imports neither NumPy nor OpenCV.
        meaning: A short description.
        needs_crop: Whether `compute` takes the crops as well.
    """

    width: int
    function: str
    meaning: str
    needs_crop: bool = False

    def compute(self, landmarks_xy: Any, crops: Any = None) -> Any:
        """Compute the features of some faces.

        Args:
            landmarks_xy: (n, 68, 2) floats in crop pixels.
            crops: n crops (size, size) uint8, if `needs_crop`.

        Returns:
            (n, width) floats.
        """
        function = pkgutil.resolve_name(f"fer_ray.features.{self.function}")
        return function(landmarks_xy, crops) if self.needs_crop else function(landmarks_xy)


FEATURE_SETS = {
    "reference": FeatureSet(
        4 * (N_LANDMARKS - 1),
        "geometry:reference",
        "points 1–67: x, y, distance, angle (the study)",
    ),
    "reference68": FeatureSet(
        4 * N_LANDMARKS, "geometry:reference68", "all 68 points: x, y, distance, angle"
    ),
    "landmarks": FeatureSet(
        2 * N_LANDMARKS, "geometry:eye_normalised", "all 68 points, placed and scaled by the eyes"
    ),
    "geometry": FeatureSet(44, "measures:measures", "distances and angles near action units"),
    "hog": FeatureSet(1764, "appearance:hog", "gradient directions of the aligned face", True),
}


def sets_of(name: str) -> tuple[str, ...]:
    """The sets that a name stands for: itself, or the parts of a union.

    A set is one of `FEATURE_SETS`, a backbone (its bottleneck features), or the delta of either.

    Raises:
        ValueError: One of them does not exist, or is named twice.
    """
    parts = tuple(name.split(UNION))
    bases = {base_of(part) for part in parts}
    if len(set(parts)) < len(parts):
        raise ValueError(f"{name} names a set twice")
    if not bases <= {*FEATURE_SETS, *BACKBONES}:
        known = ", ".join([*FEATURE_SETS, *BACKBONES])
        raise ValueError(
            f"take one of {known}, {DELTA} or {DELTA}-NAME, or several joined by {UNION}"
        )
    return parts


def is_delta(part: str) -> bool:
    """Whether a part of a name is a difference from the sequence's first frame."""
    return part == DELTA or part.startswith(f"{DELTA}-")


def needs_sequence(name: str) -> bool:
    """Whether a name has such a part: then an image alone does not have these features."""
    return any(is_delta(part) for part in name.split(UNION))


def base_of(part: str) -> str:
    """The set that a part of a name is computed from: itself unless it is a delta."""
    return "landmarks" if part == DELTA else part.removeprefix(f"{DELTA}-")


def widths_of(name: str) -> tuple[int, ...]:
    """Numbers per image of each set that a name stands for."""
    widths = {key: one.width for key, one in FEATURE_SETS.items()}
    widths |= {key: spec.width for key, spec in BACKBONES.items()}
    return tuple(widths[base_of(part)] for part in sets_of(name))


def stored_sets(name: str) -> tuple[str, ...]:
    """Those sets that a name needs from `frames`."""
    return tuple(base for base in _bases(name) if base in FEATURE_SETS)


def backbones_of(name: str) -> tuple[str, ...]:
    """The backbones whose features a name needs."""
    return tuple(base for base in _bases(name) if base in BACKBONES)


def _bases(name: str) -> dict[str, None]:
    return dict.fromkeys(base_of(part) for part in sets_of(name))
