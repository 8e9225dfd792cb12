"""What a face detector returns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Face:
    """A detected face, in pixels of the image that was searched.

    Attributes:
        box_xywh: Position and size of its box.
        found_by: What found it: a cascade, `blazeface`, or `whole` for an image that is a face.
        score: Confidence between 0 and 1; None if the detector has none.
        key_points: (6, 2) eyes, nose, mouth and ears; None if the detector finds none.
    """

    box_xywh: tuple[float, float, float, float]
    found_by: str
    score: float | None = None
    key_points: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Detection:
    """The result of a detector for one image.

    Attributes:
        faces: The faces that it found, the largest first.
        seen: Number of faces that it saw; more than `faces` if it could not decide.
        cascade_faces: Number of faces found by each cascade that ran, by name.
    """

    faces: tuple[Face, ...]
    seen: int
    cascade_faces: dict[str, int] | None = None
