import numpy as np

from fer_ray.faces.mesh_topology import IBUG_POINTS, MIRRORED_POINTS
from fer_ray.features.head_pose import frontal_mesh, pose
from fer_ray.features.mirroring import mirrored_blendshapes, mirrored_mesh, mirrored_pose
from fer_ray.networks.bottleneck.augmentation import MIRRORED
from fer_ray.vocabulary import BLENDSHAPES
from tests.features.test_head_pose import mesh


def test_mesh_and_pose_are_those_of_the_mirrored_mesh() -> None:
    turned = mesh(yaw=30, pitch=-10, roll=15)
    mirrored = turned[:, list(MIRRORED_POINTS)] * [-1, 1, 1] + [600, 0, 0]
    np.testing.assert_allclose(
        mirrored_mesh(frontal_mesh(turned)), frontal_mesh(mirrored), atol=1e-9
    )
    np.testing.assert_allclose(mirrored_pose(pose(turned)), pose(mirrored), atol=1e-9)


def test_points_of_the_mesh_mirror_like_the_68_points() -> None:
    mirrored = np.array(MIRRORED_POINTS)
    np.testing.assert_array_equal(mirrored[mirrored], np.arange(478))
    points = np.array(IBUG_POINTS)
    np.testing.assert_array_equal(mirrored[points], points[MIRRORED])


def test_blendshapes_exchange_left_and_right() -> None:
    values = np.arange(52.0)[None]
    mirrored = mirrored_blendshapes(values)[0]
    smile = [BLENDSHAPES.index(f"mouthSmile{side}") for side in ("Left", "Right")]
    assert mirrored[smile].tolist() == smile[::-1]
    assert mirrored[BLENDSHAPES.index("jawOpen")] == BLENDSHAPES.index("jawOpen")
