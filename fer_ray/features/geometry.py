"""Feature vectors from landmark coordinates: pure functions of (n, 68, 2) arrays.

Points follow the iBUG 300-W mark-up, numbered from 0: jaw 0–16, brows 17–26, nose 27–35, right eye
36–41 and left eye 42–47 (the person's right and left), mouth 48–67. Crop pixels, y downwards.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RIGHT_EYE = slice(36, 42)
LEFT_EYE = slice(42, 48)


def centred_polar(points_xy: Floats) -> Floats:
    """Coordinates of each point, and its distance and angle from the centroid.

    Args:
        points_xy: (n, k, 2).

    Returns:
        (n, 4k), in the order x₀ y₀ d₀ θ₀ x₁ …; in pixels, and in degrees in (−180, 180] measured as
        `atan2(y − ȳ, x − x̄)`.
    """
    offsets = points_xy - points_xy.mean(axis=1, keepdims=True)
    distances = np.linalg.norm(offsets, axis=2)
    angles = np.degrees(np.arctan2(offsets[..., 1], offsets[..., 0]))
    columns = [points_xy[..., 0], points_xy[..., 1], distances, angles]
    return np.stack(columns, axis=2).reshape(len(points_xy), 4 * points_xy.shape[1])


def reference(landmarks_xy: Floats) -> Floats:
    """The features of the reference study: `centred_polar` of points 1–67.

    An off-by-one bug of the reference study excludes point 0, also from the centroid. This function
    preserves it.

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.

    Returns:
        (n, 268).
    """
    return centred_polar(landmarks_xy[:, 1:])


def reference68(landmarks_xy: Floats) -> Floats:
    """The features of the reference study, off-by-one fixed: `centred_polar` of all points.

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.

    Returns:
        (n, 272).
    """
    return centred_polar(landmarks_xy)


def eye_normalised(landmarks_xy: Floats) -> Floats:
    """All points in a coordinate frame of the eyes, invariant to position, scale and rotation.

    The origin is midway between the eye centres (the mean of each eye's six points), the x axis
    points from the person's right eye to the left eye, and the unit is the distance between them.

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.

    Returns:
        (n, 136): x₀ y₀ x₁ …, in units of the distance between the eyes. Zeros if the eyes coincide.
    """
    right = landmarks_xy[:, RIGHT_EYE].mean(axis=1)
    left = landmarks_xy[:, LEFT_EYE].mean(axis=1)
    axis = left - right
    squared = np.sum(axis**2, axis=1)[:, None, None]
    offsets = landmarks_xy - ((right + left) / 2)[:, None]
    cos, sin = axis[:, None, 0], axis[:, None, 1]
    rotated = np.stack(
        [
            cos * offsets[..., 0] + sin * offsets[..., 1],
            cos * offsets[..., 1] - sin * offsets[..., 0],
        ],
        axis=2,
    )
    normalised: Floats = np.zeros_like(rotated)
    np.divide(rotated, squared, out=normalised, where=squared > 0)
    return normalised.reshape(len(landmarks_xy), 2 * landmarks_xy.shape[1])
