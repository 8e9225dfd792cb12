"""The table of feature sets. To add one, write a function and add a line here."""

import pkgutil
from dataclasses import dataclass
from typing import Any

from fer_ray.settings.backbones import BACKBONES
from fer_ray.vocabulary import BLENDSHAPES, N_LANDMARKS, N_MESH_POINTS

UNION = "+"  # joins the names of sets that are used together, as in hog+landmarks
# Prefix of a set's name: the features of the peak minus those of the first frame of the sequence,
# as for the shape and appearance features of Lucey et al. (CVPR 2010 workshops). `delta` alone is
# the delta of `landmarks`.
DELTA = "delta"


@dataclass(frozen=True)
class FeatureSet:
    """A named feature vector of a face.

    Attributes:
        width: Features per image.
        function: The function that computes them, as `module:name` in `fer_ray.features`. It is
            imported on first use, so that reading settings imports neither NumPy nor OpenCV.
        meaning: A short description.
        inputs: What `compute` needs: `landmarks_xy`, floats of shape (n, 68, 2) in pixels of the
            crop; `crops`, n arrays of shape (size, size) uint8; `mesh_xyz`, floats of shape
            (n, 478, 3) in pixels of the crop; `blendshapes`, floats of shape (n, 52); `pose`,
            yaw, pitch and roll in degrees of shape (n, 3).
        columns: Names of the single values; empty for a vector without names.
    """

    width: int
    function: str
    meaning: str
    inputs: tuple[str, ...] = ("landmarks_xy",)
    columns: tuple[str, ...] = ()

    def compute(self, *inputs: Any) -> Any:
        """Compute the features of n faces.

        Args:
            *inputs: The arrays that `inputs` lists.

        Returns:
            Features, floats of shape (n, width).

        Examples:
            >>> from fer_ray.settings.feature_sets import FEATURE_SETS
            >>> import numpy as np
            >>> FEATURE_SETS["reference68"].compute(np.ones((5, 68, 2))).shape
            (5, 272)
        """
        return pkgutil.resolve_name(f"fer_ray.features.{self.function}")(*inputs)

    @property
    def needs_mesh(self) -> bool:
        """Whether only the landmark model `face-mesh` provides the inputs."""
        return bool({"mesh_xyz", "blendshapes", "pose"} & set(self.inputs))


FEATURE_SETS = {
    "reference": FeatureSet(
        4 * (N_LANDMARKS - 1),
        "geometry:reference",
        "points 1–67: x, y, distance, angle (the reference study)",
    ),
    "reference68": FeatureSet(
        4 * N_LANDMARKS, "geometry:reference68", "all 68 points: x, y, distance, angle"
    ),
    "landmarks": FeatureSet(
        2 * N_LANDMARKS,
        "geometry:eye_normalised",
        "all 68 points, positioned and scaled by the eyes",
    ),
    "geometry": FeatureSet(44, "measures:measures", "distances and angles near action units"),
    "hog": FeatureSet(
        1764,
        "appearance:hog",
        "histograms of gradient directions of the aligned face",
        ("landmarks_xy", "crops"),
    ),
    "mesh": FeatureSet(
        3 * N_MESH_POINTS,
        "head_pose:frontal_mesh",
        "all 478 points of the mesh, without pose, positioned and scaled by the eyes",
        ("mesh_xyz",),
    ),
    "blendshapes": FeatureSet(
        len(BLENDSHAPES),
        "given_values:given",
        "52 facial movements from 0 to 1, near action units",
        ("blendshapes",),
        BLENDSHAPES,
    ),
    "pose": FeatureSet(
        3,
        "given_values:given",
        "yaw, pitch and roll of the head in degrees",
        ("pose",),
        ("yaw", "pitch", "roll"),
    ),
}

# The sets that every landmark model provides.
DEFAULT_SETS = tuple(name for name, one in FEATURE_SETS.items() if not one.needs_mesh)


def sets_of(name: str) -> tuple[str, ...]:
    """Split a name into its sets: itself, or the parts of a union.

    A set is one of `FEATURE_SETS`, a backbone (its bottleneck features), or the delta of either.

    Raises:
        ValueError: A set does not exist, or occurs twice.

    Examples:
        >>> from fer_ray.settings.feature_sets import sets_of
        >>> sets_of("hog+landmarks")
        ('hog', 'landmarks')
    """
    parts = tuple(name.split(UNION))
    bases = {base_of(part) for part in parts}
    if len(set(parts)) < len(parts):
        raise ValueError(f"{name} contains a set twice")
    if not bases <= {*FEATURE_SETS, *BACKBONES}:
        known = ", ".join([*FEATURE_SETS, *BACKBONES])
        raise ValueError(
            f"specify one of {known}, {DELTA} or {DELTA}-NAME, or several joined by {UNION}"
        )
    return parts


def is_delta(part: str) -> bool:
    """Return whether a set is a difference from the first frame of the sequence."""
    return part == DELTA or part.startswith(f"{DELTA}-")


def needs_sequence(name: str) -> bool:
    """Return whether a name contains a delta, which cannot be computed from a single image."""
    return any(is_delta(part) for part in name.split(UNION))


def base_of(part: str) -> str:
    """The set that a set is computed from: itself, unless it is a delta."""
    return "landmarks" if part == DELTA else part.removeprefix(f"{DELTA}-")


def widths_of(name: str) -> tuple[int, ...]:
    """Features per image of each set in a name."""
    widths = {key: feature_set.width for key, feature_set in FEATURE_SETS.items()}
    widths |= {key: spec.width for key, spec in BACKBONES.items()}
    return tuple(widths[base_of(part)] for part in sets_of(name))


def stored_sets(name: str) -> tuple[str, ...]:
    """The columns of `frames` that a name requires, as names of feature sets."""
    return tuple(base for base in _bases(name) if base in FEATURE_SETS)


def backbones_of(name: str) -> tuple[str, ...]:
    """The backbones whose features a name requires."""
    return tuple(base for base in _bases(name) if base in BACKBONES)


def _bases(name: str) -> dict[str, None]:
    return dict.fromkeys(base_of(part) for part in sets_of(name))
