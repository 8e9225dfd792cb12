"""Features of the face mesh of mirrored faces, from those of the faces."""

import numpy as np
from numpy.typing import NDArray

from fer_ray.faces.mesh_topology import MIRRORED_POINTS
from fer_ray.vocabulary import BLENDSHAPES, N_MESH_POINTS

Floats = NDArray[np.float64]


def mirrored_mesh(vectors: Floats) -> Floats:
    """The vectors (n, 1434) of `head_pose.frontal_mesh` of the mirrored faces."""
    points = vectors.reshape(-1, N_MESH_POINTS, 3)[:, list(MIRRORED_POINTS)]
    return np.asarray(points * np.array([-1.0, 1.0, 1.0])).reshape(vectors.shape)


def mirrored_blendshapes(values: Floats) -> Floats:
    """Blendshapes (n, 52) of the mirrored faces: left and right are exchanged."""
    exchange = {"Left": "Right", "Right": "Left"}
    order = [BLENDSHAPES.index(_exchange_side(name, exchange)) for name in BLENDSHAPES]
    return values[:, order]


def _exchange_side(name: str, exchange: dict[str, str]) -> str:
    for side, other in exchange.items():
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name


def mirrored_pose(degrees: Floats) -> Floats:
    """Yaw, pitch and roll (n, 3) of the mirrored faces."""
    return np.asarray(degrees * np.array([-1.0, 1.0, -1.0]))
