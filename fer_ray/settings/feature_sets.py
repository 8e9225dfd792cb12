"""The table of feature sets. To add one, write a function and add a line here."""

import pkgutil
from dataclasses import dataclass
from typing import Any

from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.network_interface import NAME
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
        mirroring: The function that turns features of faces into those of the mirrored faces, as
            `function`. Empty for features of landmarks only: these are computed from mirrored
            landmarks.
    """

    width: int
    function: str
    meaning: str
    inputs: tuple[str, ...] = ("landmarks_xy",)
    columns: tuple[str, ...] = ()
    mirroring: str = ""

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

    def mirror(self, features: Any) -> Any:
        """Rearrange the features of n faces into those of the mirrored faces.

        Args:
            features: Floats of shape (n, width).

        Returns:
            Floats of shape (n, width).
        """
        return pkgutil.resolve_name(f"fer_ray.features.{self.mirroring}")(features)

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
        "histograms of gradient directions of the aligned face, in cells of 16 px",
        ("landmarks_xy", "crops"),
        mirroring="appearance:mirrored_hog",
    ),
    "hog8": FeatureSet(
        2304,
        "appearance:hog8",
        "the same in cells of 8 px",
        ("landmarks_xy", "crops"),
        mirroring="appearance:mirrored_hog",
    ),
    "hog32": FeatureSet(
        324,
        "appearance:hog32",
        "the same in cells of 32 px",
        ("landmarks_xy", "crops"),
        mirroring="appearance:mirrored_hog",
    ),
    "hog_patches": FeatureSet(
        1728,
        "patches:hog_patches",
        "the same for the mouth, the eyes and brows, and the nose",
        ("landmarks_xy", "crops"),
        mirroring="patches:mirrored_patches",
    ),
    "mesh": FeatureSet(
        3 * N_MESH_POINTS,
        "head_pose:frontal_mesh",
        "all 478 points of the mesh, without pose, positioned and scaled by the eyes",
        ("mesh_xyz",),
        mirroring="mirroring:mirrored_mesh",
    ),
    "blendshapes": FeatureSet(
        len(BLENDSHAPES),
        "given_values:given",
        "52 facial movements from 0 to 1, near action units",
        ("blendshapes",),
        BLENDSHAPES,
        "mirroring:mirrored_blendshapes",
    ),
    "pose": FeatureSet(
        3,
        "given_values:given",
        "yaw, pitch and roll of the head in degrees",
        ("pose",),
        ("yaw", "pitch", "roll"),
        "mirroring:mirrored_pose",
    ),
}

# The sets that are stored by default. With any other default, stores would process every image
# again.
DEFAULT_SETS = ("reference", "reference68", "landmarks", "geometry", "hog")


def sets_of(name: str) -> tuple[str, ...]:
    """Split a name into its sets: itself, or the parts of a union.

    A set is one of `FEATURE_SETS`, a backbone (its bottleneck features), or the delta of either.
    Another name is that of a network from the user's file; whether it exists is known only to the
    run folder with its features.

    Raises:
        ValueError: A set cannot exist or occurs twice, or several are networks from files.

    Examples:
        >>> from fer_ray.settings.feature_sets import sets_of
        >>> sets_of("hog+landmarks")
        ('hog', 'landmarks')
    """
    parts = tuple(name.split(UNION))
    others = {base_of(part) for part in parts} - {*FEATURE_SETS, *BACKBONES}
    if len(set(parts)) < len(parts):
        raise ValueError(f"{name} contains a set twice")
    if not all(is_file_network(other) for other in others):
        raise ValueError(f"{name} is not a feature set: specify {KNOWN_SETS}")
    if len(others) > 1:
        raise ValueError(
            f"{' and '.join(sorted(others))} are not feature sets of fer_ray, and a union can "
            f"contain only one network of your own: specify {KNOWN_SETS}"
        )
    return parts


# For messages.
KNOWN_SETS = (
    f"one of {', '.join([*FEATURE_SETS, *BACKBONES])}, {DELTA} or {DELTA}-NAME, or several joined "
    f"by {UNION}"
)


def is_file_network(name: str) -> bool:
    """Return whether a name can be that of a network from the user's file."""
    known = {*FEATURE_SETS, *BACKBONES, DELTA}
    return name not in known and NAME.fullmatch(name) is not None


def is_delta(part: str) -> bool:
    """Return whether a set is a difference from the first frame of the sequence."""
    return part == DELTA or part.startswith(f"{DELTA}-")


def needs_sequence(name: str) -> bool:
    """Return whether a name contains a delta, which cannot be computed from a single image."""
    return any(is_delta(part) for part in name.split(UNION))


def base_of(part: str) -> str:
    """The set that a set is computed from: itself, unless it is a delta."""
    return "landmarks" if part == DELTA else part.removeprefix(f"{DELTA}-")


def can_mirror(name: str) -> bool:
    """Return whether the features of mirrored faces follow from those of the faces.

    They do not for backbones, which need the mirrored crops, and for deltas.
    """
    return set(sets_of(name)) <= set(FEATURE_SETS)


def widths_of(name: str, total: int) -> tuple[int, ...]:
    """Features per image of each set in a name.

    Args:
        name: Name of a feature set or union.
        total: Sum of the widths, from which that of a network from the user's file follows.
    """
    widths = {key: feature_set.width for key, feature_set in FEATURE_SETS.items()}
    widths |= {key: spec.width for key, spec in BACKBONES.items()}
    bases = [base_of(part) for part in sets_of(name)]
    rest = total - sum(widths.get(base, 0) for base in bases)
    others = sum(base not in widths for base in bases)  # a network, and perhaps its delta
    return tuple(widths.get(base) or rest // others for base in bases)


def stored_sets(name: str) -> tuple[str, ...]:
    """The columns of `frames` that a name requires, as names of feature sets."""
    return tuple(base for base in _bases(name) if base in FEATURE_SETS)


def backbones_of(name: str) -> tuple[str, ...]:
    """The backbones whose features a name requires, including networks from the user's files."""
    return tuple(base for base in _bases(name) if base not in FEATURE_SETS)


def _bases(name: str) -> dict[str, None]:
    return dict.fromkeys(base_of(part) for part in sets_of(name))
