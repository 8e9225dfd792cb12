"""Head pose and pose-free coordinates from the 478-point face mesh: pure functions of arrays."""

import numpy as np
from numpy.typing import NDArray

from fer_ray.faces.mesh_topology import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS
from fer_ray.vocabulary import N_MESH_POINTS

Floats = NDArray[np.float64]

# The points by which MediaPipe aligns a face with its canonical face model (Google, Apache 2.0):
# number, weight, and x, y, z in the model, in centimetres with y upwards and z towards the camera.
_BASIS = np.array([
    (4, 0.070910, 0.0000, -0.4632, 7.5866),
    (6, 0.032100, 0.0000, 2.4733, 5.7886),
    (10, 0.008447, 0.0000, 8.2618, 4.4815),
    (33, 0.058724, -4.4459, 2.6640, 3.1734),
    (54, 0.007667, -6.2793, 6.6154, 1.4259),
    (67, 0.009078, -3.5240, 8.0060, 3.7292),
    (117, 0.009792, -5.2587, 0.9458, 2.9743),
    (119, 0.014565, -3.3007, 0.8616, 3.8728),
    (121, 0.018591, -1.8207, 1.4680, 4.2241),
    (127, 0.005198, -7.7431, 2.3650, -2.0052),
    (129, 0.120625, -1.7858, -0.9783, 4.8505),
    (132, 0.005560, -7.2709, -2.8909, -2.2525),
    (133, 0.053286, -1.8564, 2.5852, 3.7579),
    (136, 0.066890, -5.0853, -7.1786, 0.7147),
    (143, 0.014817, -6.4076, 2.2360, 1.5608),
    (147, 0.014263, -6.2349, -1.9444, 1.6635),
    (198, 0.025462, -1.2468, 0.2303, 5.6810),
    (205, 0.047252, -3.8329, -1.5373, 4.1377),
    (263, 0.058724, 4.4459, 2.6640, 3.1734),
    (284, 0.007667, 6.2793, 6.6154, 1.4259),
    (297, 0.009078, 3.5240, 8.0060, 3.7292),
    (346, 0.009792, 5.2587, 0.9458, 2.9743),
    (348, 0.014565, 3.3007, 0.8616, 3.8728),
    (350, 0.018591, 1.8207, 1.4680, 4.2241),
    (356, 0.005198, 7.7431, 2.3650, -2.0052),
    (358, 0.120625, 1.7858, -0.9783, 4.8505),
    (361, 0.005560, 7.2709, -2.8909, -2.2525),
    (362, 0.053286, 1.8564, 2.5852, 3.7579),
    (365, 0.066890, 5.0853, -7.1786, 0.7147),
    (372, 0.014817, 6.4076, 2.2360, 1.5608),
    (376, 0.014263, 6.2349, -1.9444, 1.6635),
    (420, 0.025462, 1.2468, 0.2303, 5.6810),
    (425, 0.047252, 3.8329, -1.5373, 4.1377),
])  # fmt: skip
BASIS_POINTS, BASIS_WEIGHTS, BASIS_MODEL = _BASIS[:, 0].astype(int), _BASIS[:, 1], _BASIS[:, 2:]


def pose(mesh_xyz: Floats) -> Floats:
    """Head pose, by a rigid alignment with the canonical face model.

    The rotation minimises the weighted squared distances (Kabsch, Acta Crystallographica A32,
    1976).

    Args:
        mesh_xyz: (n, 478, 3) in pixels; x to the right, y downwards, depth away from the camera.

    Returns:
        (n, 3) in degrees: yaw (positive if the nose points to the right edge of the image, −180 to
        180), pitch (positive if it points upwards, −90 to 90) and roll (positive if the head is
        tilted clockwise in the image, −180 to 180).
    """
    rotations = _rotations(mesh_xyz)
    nose = rotations[:, :, 2]
    yaw = np.arctan2(nose[:, 0], nose[:, 2])
    pitch = np.arcsin(np.clip(nose[:, 1], -1, 1))
    roll = -np.arctan2(rotations[:, 1, 0], rotations[:, 1, 1])
    degrees: Floats = np.degrees(np.stack([yaw, pitch, roll], axis=1))
    return degrees


def frontal_mesh(mesh_xyz: Floats) -> Floats:
    """All points of the mesh in a coordinate frame of the head, invariant to its pose.

    The origin is midway between the centres of the eyes (the mean of their corners), and the unit
    is the distance between them. The axes are those of the canonical face model.

    Args:
        mesh_xyz: (n, 478, 3) in pixels.

    Returns:
        (n, 1434): x₀ y₀ z₀ x₁ …, in units of the distance between the eyes; y upwards, z towards
        the camera. Zeros if the eyes coincide.
    """
    points = _upright(mesh_xyz) @ _rotations(mesh_xyz)
    right, left = (
        points[:, list(eye)].mean(axis=1) for eye in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)
    )
    distance = np.linalg.norm(left - right, axis=1)[:, None, None]
    offsets = points - ((right + left) / 2)[:, None]
    normalised: Floats = np.zeros_like(offsets)
    np.divide(offsets, distance, out=normalised, where=distance > 0)
    return normalised.reshape(len(mesh_xyz), 3 * N_MESH_POINTS)


def _upright(mesh_xyz: Floats) -> Floats:
    """Points with y upwards and z towards the camera."""
    points: Floats = np.asarray(mesh_xyz, dtype=np.float64) * np.array([1.0, -1.0, -1.0])
    return points


def _rotations(mesh_xyz: Floats) -> Floats:
    """Rotations (n, 3, 3) from the canonical face model to the faces."""
    observed = _upright(mesh_xyz)[:, BASIS_POINTS]
    weights = BASIS_WEIGHTS / BASIS_WEIGHTS.sum()
    model = BASIS_MODEL - weights @ BASIS_MODEL
    offsets = observed - np.einsum("k,nkd->nd", weights, observed)[:, None]
    left, _, right = np.linalg.svd(np.einsum("nkd,k,ke->nde", offsets, weights, model))
    signs = np.ones((len(observed), 3))
    signs[:, 2] = np.sign(np.linalg.det(left @ right))
    return np.asarray((left * signs[:, None]) @ right)
