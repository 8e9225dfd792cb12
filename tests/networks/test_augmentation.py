import cv2
import numpy as np

from fer_ray.networks.augmentation import MIRRORED, Draw, apply_to_crop, apply_to_landmarks, draw
from fer_ray.settings.networks import Augmentation

SIDE = 101


def test_draws_stay_within_their_ranges_and_are_the_same_each_time() -> None:
    settings = Augmentation()
    drawn = [draw(settings, f"S{i:03d}", number) for i in range(40) for number in range(5)]
    assert drawn == [draw(settings, f"S{i:03d}", number) for i in range(40) for number in range(5)]
    assert len(set(drawn)) == len(drawn)
    turned, moved = [one.degrees for one in drawn], [one.shift_x for one in drawn]
    assert -50 <= min(turned) < -40 < 40 < max(turned) <= 50
    assert -0.2 <= min(moved) < -0.15 < 0.15 < max(moved) <= 0.2
    assert 60 < sum(one.flipped for one in drawn) < 140
    assert draw(Augmentation(seed=1), "S000", 0) != drawn[0]


def test_the_mirrored_order_is_its_own_inverse_and_keeps_the_middle() -> None:
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(68))
    middle = [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    assert np.array_equal(np.flatnonzero(np.arange(68) == MIRRORED), middle)


def test_a_symmetric_face_mirrored_is_the_same_face() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(0, SIDE - 1, (68, 2))
    symmetric = points.copy()
    symmetric[:, 0] = (points[:, 0] + (SIDE - 1) - points[MIRRORED, 0]) / 2
    symmetric[:, 1] = (points[:, 1] + points[MIRRORED, 1]) / 2
    mirrored = apply_to_landmarks(Draw(0, 0, 0, True), symmetric, SIDE)
    np.testing.assert_allclose(mirrored, symmetric, atol=1e-9)


def test_points_move_with_what_they_mark_in_the_image() -> None:
    rng = np.random.default_rng(3)
    for number in range(12):
        how = draw(Augmentation(degrees=30, shift=0.1), "face", number)
        x, y = rng.integers(35, 66, 2)
        image = np.zeros((SIDE, SIDE), np.uint8)
        cv2.circle(image, (int(x), int(y)), 3, 255, -1)
        moved = apply_to_crop(how, image).astype(float)
        rows, columns = np.indices(moved.shape)
        centre = np.array([(columns * moved).sum(), (rows * moved).sum()]) / moved.sum()
        points = np.tile(np.array([[float(x), float(y)]]), (68, 1))
        np.testing.assert_allclose(apply_to_landmarks(how, points, SIDE)[0], centre, atol=0.2)


def test_what_comes_into_view_repeats_the_nearest_edge() -> None:
    image = np.tile(np.arange(SIDE, dtype=np.uint8), (SIDE, 1))
    moved = apply_to_crop(Draw(0, 0.2, 0, False), image)
    assert np.all(moved[:, :20] == 0)
    assert np.all(moved[:, -1] == SIDE - 1 - 20)
