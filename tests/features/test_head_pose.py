"""Head pose and pose-free coordinates of turned meshes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fer_ray.features.head_pose import BASIS_MODEL, BASIS_POINTS, frontal_mesh, pose

Floats = NDArray[np.float64]


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Turns a head by yaw (to the right edge), pitch (upwards) and roll (clockwise), in degrees."""
    y, p, r = np.radians([yaw, -pitch, -roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def mesh(yaw: float = 0, pitch: float = 0, roll: float = 0) -> Floats:
    """A face mesh (1, 478, 3) in pixels: the canonical points, turned, scaled and moved."""
    points = np.random.default_rng(3).normal(size=(478, 3))
    points[BASIS_POINTS] = BASIS_MODEL
    points[[33, 133, 362, 263]] = [
        [-4.4, 2.7, 3.2],
        [-1.9, 2.6, 3.8],
        [1.9, 2.6, 3.8],
        [4.4, 2.7, 3.2],
    ]
    turned = points @ rotation(yaw, pitch, roll).T
    return (turned * [7.0, -7.0, -7.0] + [300, 200, 5])[None]


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (40, 0, 0), (0, 25, 0), (0, 0, 30), (-35, 10, -20), (60, -20, 15)]
)
def test_pose_of_a_turned_head(angles: tuple[float, float, float]) -> None:
    assert pose(mesh(*angles))[0] == pytest.approx(angles, abs=0.6)


def test_frontal_mesh_is_free_of_pose() -> None:
    frontal, turned = frontal_mesh(mesh()), frontal_mesh(mesh(35, -15, 20))
    assert frontal.shape == (1, 1434)
    assert np.abs(frontal - turned).max() < 0.02


def test_degenerate_mesh_gives_zeros() -> None:
    assert not frontal_mesh(np.full((2, 478, 3), 7.0)).any()
