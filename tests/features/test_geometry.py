import numpy as np
import pytest

from benchmarks.naive_study import vectorise
from fer_ray.features import geometry
from fer_ray.settings.feature_sets import FEATURE_SETS, FeatureSet, sets_of

RNG = np.random.default_rng(1)
FACES = RNG.integers(20, 330, (5, 68, 2)).astype(float)
INPUTS = {
    "landmarks_xy": FACES,
    "crops": list(RNG.integers(0, 256, (5, 350, 350), np.uint8)),
    "mesh_xyz": RNG.uniform(20, 330, (5, 478, 3)),
    "blendshapes": RNG.uniform(0, 1, (5, 52)),
    "pose": RNG.uniform(-30, 30, (5, 3)),
}


def test_reference_features_equal_the_study() -> None:
    expected = [vectorise([tuple(point) for point in face]) for face in FACES]
    np.testing.assert_allclose(geometry.reference(FACES), expected, rtol=1e-12, atol=1e-9)


def test_reference_excludes_point_0() -> None:
    moved = FACES.copy()
    moved[:, 0] += 50
    np.testing.assert_array_equal(geometry.reference(moved), geometry.reference(FACES))
    assert not np.array_equal(geometry.reference68(moved), geometry.reference68(FACES))


def compute(feature_set: FeatureSet, faces: slice) -> np.ndarray:
    """The features of some of the faces."""
    return np.asarray(feature_set.compute(*(INPUTS[name][faces] for name in feature_set.inputs)))


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_feature_set_width(name: str) -> None:
    feature_set = FEATURE_SETS[name]
    for count in (0, 1, 5):
        assert compute(feature_set, slice(count)).shape == (count, feature_set.width)


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_features_do_not_depend_on_the_batch(name: str) -> None:
    feature_set = FEATURE_SETS[name]
    together = compute(feature_set, slice(None))
    np.testing.assert_array_equal(together[3:4], compute(feature_set, slice(3, 4)))


def test_name_of_a_set_or_a_union() -> None:
    assert sets_of("landmarks") == ("landmarks",)
    assert sets_of("hog+landmarks") == ("hog", "landmarks")


def test_duplicate_set_is_rejected() -> None:
    with pytest.raises(ValueError, match="contains a set twice"):
        sets_of("hog+hog")


@pytest.mark.parametrize("name", ["", "eigen-faces", "hog+", "hog landmarks"])
def test_unknown_set_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="specify one of reference"):
        sets_of(name)


def test_eye_normalised_invariance() -> None:
    turn = np.deg2rad(25)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = 1.7 * FACES @ rotation.T + [40, -12]
    np.testing.assert_allclose(
        geometry.eye_normalised(moved), geometry.eye_normalised(FACES), atol=1e-9
    )


def test_eye_centres() -> None:
    points = geometry.eye_normalised(FACES).reshape(-1, 68, 2)
    np.testing.assert_allclose(
        points[:, geometry.RIGHT_EYE].mean(axis=1), [[-0.5, 0]] * 5, atol=1e-9
    )
    np.testing.assert_allclose(points[:, geometry.LEFT_EYE].mean(axis=1), [[0.5, 0]] * 5, atol=1e-9)


def test_coinciding_eyes_give_zeros() -> None:
    assert not geometry.eye_normalised(np.full((1, 68, 2), 9.0)).any()
