import cv2
import numpy as np

from fer_ray.networks.bottleneck.augmentation import (
    MIRRORED,
    Draw,
    apply_to_crop,
    apply_to_landmarks,
    draw,
)
from fer_ray.settings.networks import Augmentation

SIDE = 101


def test_draws_are_reproducible_and_within_range() -> None:
    settings = Augmentation()
    drawn = [draw(settings, f"S{i:03d}", number) for i in range(40) for number in range(5)]
    assert drawn == [draw(settings, f"S{i:03d}", number) for i in range(40) for number in range(5)]
    assert len(set(drawn)) == len(drawn)
    degrees, shifts = [change.degrees for change in drawn], [change.shift_x for change in drawn]
    assert -50 <= min(degrees) < -40 < 40 < max(degrees) <= 50
    assert -0.2 <= min(shifts) < -0.15 < 0.15 < max(shifts) <= 0.2
    assert 60 < sum(change.flipped for change in drawn) < 140
    assert draw(Augmentation(seed=1), "S000", 0) != drawn[0]


def test_mirrored_order_is_its_own_inverse() -> None:
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(68))
    middle = [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    assert np.array_equal(np.flatnonzero(np.arange(68) == MIRRORED), middle)


def test_mirror_of_a_symmetric_face() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(0, SIDE - 1, (68, 2))
    symmetric = points.copy()
    symmetric[:, 0] = (points[:, 0] + (SIDE - 1) - points[MIRRORED, 0]) / 2
    symmetric[:, 1] = (points[:, 1] + points[MIRRORED, 1]) / 2
    mirrored = apply_to_landmarks(Draw(0, 0, 0, True), symmetric, SIDE)
    np.testing.assert_allclose(mirrored, symmetric, atol=1e-9)


def test_landmarks_move_with_the_image() -> None:
    rng = np.random.default_rng(3)
    for number in range(12):
        change = draw(Augmentation(degrees=30, shift=0.1), "face", number)
        x, y = rng.integers(35, 66, 2)
        image = np.zeros((SIDE, SIDE), np.uint8)
        cv2.circle(image, (int(x), int(y)), 3, 255, -1)
        moved = apply_to_crop(change, image).astype(float)
        rows, columns = np.indices(moved.shape)
        centre = np.array([(columns * moved).sum(), (rows * moved).sum()]) / moved.sum()
        points = np.tile(np.array([[float(x), float(y)]]), (68, 1))
        np.testing.assert_allclose(apply_to_landmarks(change, points, SIDE)[0], centre, atol=0.2)


def test_new_areas_repeat_the_nearest_edge() -> None:
    image = np.tile(np.arange(SIDE, dtype=np.uint8), (SIDE, 1))
    moved = apply_to_crop(Draw(0, 0.2, 0, False), image)
    assert np.all(moved[:, :20] == 0)
    assert np.all(moved[:, -1] == SIDE - 1 - 20)
