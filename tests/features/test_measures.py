import numpy as np
import pytest

from fer_ray.features.measures import MEASURE_NAMES, measures

RNG = np.random.default_rng(3)


def plain_face() -> np.ndarray:
    """An upright, symmetric face (1, 68, 2) with eyes 100 px apart."""
    right = {
        17: (-85, -25), 18: (-72, -35), 19: (-55, -38), 20: (-38, -35), 21: (-20, -28),
        36: (-65, 0), 37: (-57, -7), 38: (-43, -7), 39: (-35, 0), 40: (-43, 7), 41: (-57, 7),
        31: (-15, 65), 32: (-8, 68), 48: (-35, 110), 49: (-22, 103), 50: (-8, 100),
        58: (-8, 122), 59: (-22, 118), 60: (-28, 110), 61: (-10, 108), 67: (-10, 112),
    }  # fmt: skip
    middle = {27: 0, 28: 18, 29: 36, 30: 54, 33: 70, 51: 101, 57: 123, 62: 108, 66: 112, 8: 165}
    mirrored = {
        17: 26, 18: 25, 19: 24, 20: 23, 21: 22, 36: 45, 37: 44, 38: 43, 39: 42, 40: 47, 41: 46,
        31: 35, 32: 34, 48: 54, 49: 53, 50: 52, 58: 56, 59: 55, 60: 64, 61: 63, 67: 65,
    }  # fmt: skip
    face = np.zeros((68, 2))
    for point in range(17):
        turn = np.pi * point / 16
        face[point] = -95 * np.cos(turn), 165 * np.sin(turn)
    for point, y in middle.items():
        face[point] = 0, y
    for point, (x, y) in right.items():
        face[point], face[mirrored[point]] = (x, y), (-x, y)
    return face[None] + [175, 120]


def moved(points: tuple[int, ...], right: float = 0, down: float = 0) -> np.ndarray:
    face = plain_face()
    face[:, list(points)] += [right, down]
    return face


def measures_of(face: np.ndarray) -> dict[str, float]:
    return dict(zip(MEASURE_NAMES, measures(face)[0], strict=True))


@pytest.mark.parametrize(
    ("change", "face", "by"),
    [
        ("mouth_opening", moved((65, 66, 67), down=20), 0.20),
        ("mouth_width", moved((48,), right=-10), 0.10),
        ("corner_raise_right", moved((48,), down=-10), 0.10),
        ("corner_raise_left", moved((54,), down=10), -0.10),
        ("inner_brow_raise_right", moved((21,), down=-8), 0.08),
        ("outer_brow_raise_left", moved((25, 26), down=-8), 0.08),
        ("brow_distance", moved((21,), right=5), -0.05),
        ("nose_to_lip", moved((51,), down=-9), -0.09),
        ("nose_to_chin", moved((8,), down=30), 0.30),
        ("corner_raise_asymmetry", moved((54,), down=-10), 0.10),
    ],
)
def test_movement_changes_its_measure(change: str, face: np.ndarray, by: float) -> None:
    difference = measures_of(face)[change] - measures_of(plain_face())[change]
    assert difference == pytest.approx(by, abs=1e-9)


def test_symmetric_face_has_equal_sides() -> None:
    values = measures_of(plain_face())
    for name, value in values.items():
        if name.endswith("_right"):
            assert value == pytest.approx(values[name.removesuffix("_right") + "_left"]), name
        if name.endswith("_asymmetry"):
            assert value == pytest.approx(0, abs=1e-9), name


def test_measures_are_invariant_to_similarities() -> None:
    faces = plain_face() + RNG.normal(0, 4, (6, 68, 2))
    turn = np.deg2rad(-20)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    np.testing.assert_allclose(
        measures(0.6 * faces @ rotation.T + [9, 80]), measures(faces), atol=1e-9
    )


def test_coinciding_points_measure_zero() -> None:
    assert not measures(np.full((1, 68, 2), 9.0)).any()
