import numpy as np
import pytest

from benchmarks.naive_study import vectorise
from fer_ray.features import geometry
from fer_ray.settings.feature_sets import FEATURE_SETS, FeatureSet, sets_of

RNG = np.random.default_rng(1)
FACES = RNG.integers(20, 330, (5, 68, 2)).astype(float)
CROPS = list(RNG.integers(0, 256, (5, 350, 350), np.uint8))


def test_the_reference_features_are_the_study_point_by_point() -> None:
    expected = [vectorise([tuple(point) for point in face]) for face in FACES]
    np.testing.assert_allclose(geometry.reference(FACES), expected, rtol=1e-12, atol=1e-9)


def test_point_0_has_no_part_in_the_reference() -> None:
    moved = FACES.copy()
    moved[:, 0] += 50
    np.testing.assert_array_equal(geometry.reference(moved), geometry.reference(FACES))
    assert not np.array_equal(geometry.reference68(moved), geometry.reference68(FACES))


def computed(chosen: FeatureSet, count: slice) -> np.ndarray:
    """The features of some of the faces."""
    if chosen.needs_crop:
        return chosen.compute(FACES[count], CROPS[count])
    return chosen.compute(FACES[count])


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_a_feature_set_has_its_width_for_any_number_of_faces(name: str) -> None:
    chosen = FEATURE_SETS[name]
    for count in (0, 1, 5):
        assert computed(chosen, slice(count)).shape == (count, chosen.width)


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_a_face_has_the_same_features_alone_and_in_company(name: str) -> None:
    chosen = FEATURE_SETS[name]
    together = computed(chosen, slice(None))
    np.testing.assert_array_equal(together[3:4], computed(chosen, slice(3, 4)))


def test_a_name_stands_for_itself_or_for_the_sets_that_it_joins() -> None:
    assert sets_of("landmarks") == ("landmarks",)
    assert sets_of("hog+landmarks") == ("hog", "landmarks")


def test_a_set_is_named_once() -> None:
    with pytest.raises(ValueError, match="names a set twice"):
        sets_of("hog+hog")


@pytest.mark.parametrize("name", ["", "eigenfaces", "hog+", "hog landmarks"])
def test_a_name_that_stands_for_no_set_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="take one of reference"):
        sets_of(name)


def test_eye_normalised_points_do_not_see_place_size_and_tilt() -> None:
    turn = np.deg2rad(25)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = 1.7 * FACES @ rotation.T + [40, -12]
    np.testing.assert_allclose(
        geometry.eye_normalised(moved), geometry.eye_normalised(FACES), atol=1e-9
    )


def test_eye_centres_lie_at_minus_and_plus_one_half() -> None:
    points = geometry.eye_normalised(FACES).reshape(-1, 68, 2)
    np.testing.assert_allclose(
        points[:, geometry.RIGHT_EYE].mean(axis=1), [[-0.5, 0]] * 5, atol=1e-9
    )
    np.testing.assert_allclose(points[:, geometry.LEFT_EYE].mean(axis=1), [[0.5, 0]] * 5, atol=1e-9)


def test_eyes_that_fall_together_give_zeros_and_no_warning() -> None:
    assert not geometry.eye_normalised(np.full((1, 68, 2), 9.0)).any()
