"""Named distances and angles of a face, each related to an action unit.

An action unit (AU) is the action of one facial muscle in the coding system of Ekman and Friesen
(Facial Action Coding System, 1978). Measuring them as distances between landmarks follows Tian,
Kanade and Cohn (Recognizing action units for facial expression analysis, IEEE PAMI 23, 2001).

Points are numbered as in `geometry`; `right` and `left` are the person's right and left.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fer_ray.features.geometry import eye_normalised

Floats = NDArray[np.float64]
# From points (n, 68, 2) in the coordinate frame of the eyes to one value per face, (n,).
Measure = Callable[[Floats], Floats]


def _distance(*pairs: tuple[int, int]) -> Measure:
    """Mean distance between the points of each pair, in units of the distance between the eyes."""
    first, second = ([pair[end] for pair in pairs] for end in (0, 1))

    def measure(points: Floats) -> Floats:
        distances = np.linalg.norm(points[:, first] - points[:, second], axis=2)
        return np.asarray(distances.mean(axis=1))

    return measure


def _height(upper: tuple[int, ...], lower: tuple[int, ...]) -> Measure:
    """Height of the mean of `upper` above the mean of `lower`; negative if it is below."""

    def measure(points: Floats) -> Floats:
        y = points[..., 1]  # downwards
        return np.asarray(y[:, list(lower)].mean(axis=1) - y[:, list(upper)].mean(axis=1))

    return measure


def _angle(first: int, corner: int, second: int) -> Measure:
    """Angle at `corner` between two points, in radians from 0 to π; 0 if points coincide."""

    def measure(points: Floats) -> Floats:
        a, b = points[:, first] - points[:, corner], points[:, second] - points[:, corner]
        cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
        return np.asarray(np.abs(np.arctan2(cross, np.sum(a * b, axis=1))))

    return measure


def _slope(inner: int, outer: int) -> Measure:
    """Angle in radians by which a line rises from its outer to its inner end."""

    def measure(points: Floats) -> Floats:
        dx, dy = np.moveaxis(points[:, inner] - points[:, outer], 1, 0)
        return np.asarray(np.arctan2(-dy, np.abs(dx)))

    return measure


def _asymmetry(right: Measure, left: Measure) -> Measure:
    """Absolute difference between the two sides."""
    return lambda points: np.abs(right(points) - left(points))


_LIPS = (51, 57, 62, 66)  # midpoints of the four lip edges

MEASURES: dict[str, Measure] = {
    "mouth_opening": _distance((61, 67), (62, 66), (63, 65)),  # AU 25, 26, 27
    "mouth_height": _distance((51, 57)),
    "mouth_width": _distance((48, 54)),  # AU 12, 20; narrow: 18, 23
    "mouth_inner_width": _distance((60, 64)),
    "upper_lip": _distance((50, 61), (51, 62), (52, 63)),  # thin: AU 23, 24, 28
    "lower_lip": _distance((58, 67), (57, 66), (56, 65)),
    "corner_raise_right": _height((48,), _LIPS),  # AU 12; negative: 15
    "corner_raise_left": _height((54,), _LIPS),
    "corner_angle_right": _angle(51, 48, 57),
    "corner_angle_left": _angle(51, 54, 57),
    "upper_lip_bow": _angle(48, 51, 54),
    "lower_lip_bow": _angle(48, 57, 54),  # AU 12, 15, 16
    "corner_to_eye_right": _distance((48, 36)),
    "corner_to_eye_left": _distance((54, 45)),
    "corner_to_lid_right": _distance((48, 41)),  # cheek, AU 6
    "corner_to_lid_left": _distance((54, 46)),
    "corner_to_nostril_right": _distance((48, 31)),  # AU 10, 11, 14
    "corner_to_nostril_left": _distance((54, 35)),
    "corner_to_jaw_right": _distance((48, 4)),  # AU 14, 20
    "corner_to_jaw_left": _distance((54, 12)),
    "nose_to_lip": _distance((33, 51)),  # AU 9, 10
    "nose_length": _distance((27, 33)),  # AU 9
    "nose_width": _distance((31, 35)),  # AU 9, 38
    "eyes_to_nose": _height((39, 42), (33,)),
    "lip_to_chin": _distance((57, 8)),  # AU 17
    "nose_to_chin": _distance((33, 8)),  # AU 26, 27
    "lid_opening_right": _distance((37, 41), (38, 40)),  # AU 5; negative: 6, 7, 43
    "lid_opening_left": _distance((43, 47), (44, 46)),
    "eye_width_right": _distance((36, 39)),
    "eye_width_left": _distance((42, 45)),
    "inner_brow_raise_right": _height((21,), (39,)),  # AU 1; negative: 4
    "inner_brow_raise_left": _height((22,), (42,)),
    "mid_brow_raise_right": _height((19,), (36, 39)),
    "mid_brow_raise_left": _height((24,), (42, 45)),
    "outer_brow_raise_right": _height((17, 18), (36,)),  # AU 2
    "outer_brow_raise_left": _height((25, 26), (45,)),
    "brow_distance": _distance((21, 22)),  # AU 4
    "brow_slope_right": _slope(21, 17),  # AU 1; negative: 4
    "brow_slope_left": _slope(22, 26),
    "brow_bend_right": _angle(17, 19, 21),  # AU 2
    "brow_bend_left": _angle(22, 24, 26),
    # One-sided expressions, above all contempt, occur on either side.
    "corner_raise_asymmetry": _asymmetry(_height((48,), _LIPS), _height((54,), _LIPS)),  # AU 12, 14
    "corner_to_eye_asymmetry": _asymmetry(_distance((48, 36)), _distance((54, 45))),
    "brow_raise_asymmetry": _asymmetry(_height((19,), (36, 39)), _height((24,), (42, 45))),
}
MEASURE_NAMES = tuple(MEASURES)


def measures(landmarks_xy: Floats) -> Floats:
    """All measures of each face, invariant to position, scale and rotation.

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.

    Returns:
        (n, 44) in the order of `MEASURE_NAMES`: distances and heights in units of the distance
        between the eye centres, angles and slopes in radians. Zeros if the eyes coincide.
    """
    points = eye_normalised(landmarks_xy).reshape(landmarks_xy.shape)
    return np.stack([measure(points) for measure in MEASURES.values()], axis=1)
