"""Feature vectors from landmark coordinates: pure functions on (n, 68, 2) arrays.

Points follow the iBUG 300-W mark-up, counted from 0: jaw 0–16, brows 17–26, nose 27–35, right eye
36–41 and left eye 42–47 (the person's own right and left), mouth 48–67. Crop pixels, y downwards.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIGHT_EYE = slice(36, 42)
LEFT_EYE = slice(42, 48)


def centred_polar(points_xy: Floats) -> Floats:
    """Per point x, y, distance to the centre of gravity and angle about it.

    Args:
        points_xy: (n, k, 2).

    Returns:
        (n, 4k), in the order x₀ y₀ d₀ θ₀ x₁ …; pixels, and degrees in (−180, 180] measured as
        `atan2(y − ȳ, x − x̄)`.
    """
    offsets = points_xy - points_xy.mean(axis=1, keepdims=True)
    distances = np.linalg.norm(offsets, axis=2)
    angles = np.degrees(np.arctan2(offsets[..., 1], offsets[..., 0]))
    columns = [points_xy[..., 0], points_xy[..., 1], distances, angles]
    return np.stack(columns, axis=2).reshape(len(points_xy), 4 * points_xy.shape[1])


def reference(landmarks_xy: Floats) -> Floats:
    """The study's 268 numbers: `centred_polar` of points 1–67.

    Point 0 is left out, of the centre of gravity as well: an off-by-one of the study, kept.

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.
    """
    return centred_polar(landmarks_xy[:, 1:])


def reference68(landmarks_xy: Floats) -> Floats:
    """The study's features with its off-by-one mended: `centred_polar` of all points, (n, 272)."""
    return centred_polar(landmarks_xy)


def eye_normalised(landmarks_xy: Floats) -> Floats:
    """All points in a frame set by the eyes: free of the face's place, size and tilt.

    The origin is midway between the eye centres (the mean of each eye's six points), the x axis
    runs from the person's right eye to the left one, and the unit is their distance.

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.

    Returns:
        (n, 136): x₀ y₀ x₁ …, in distances between the eyes. Zeros where both eyes fall together.
    """
    right = landmarks_xy[:, RIGHT_EYE].mean(axis=1)
    left = landmarks_xy[:, LEFT_EYE].mean(axis=1)
    axis = left - right
    squared = np.sum(axis**2, axis=1)[:, None, None]
    offsets = landmarks_xy - ((right + left) / 2)[:, None]
    cos, sin = axis[:, None, 0], axis[:, None, 1]
    turned = np.stack(
        [
            cos * offsets[..., 0] + sin * offsets[..., 1],
            cos * offsets[..., 1] - sin * offsets[..., 0],
        ],
        axis=2,
    )
    normalised: Floats = np.zeros_like(turned)
    np.divide(turned, squared, out=normalised, where=squared > 0)
    return normalised.reshape(len(landmarks_xy), 2 * landmarks_xy.shape[1])
