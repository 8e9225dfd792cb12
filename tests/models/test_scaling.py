import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from fer_ray.models.candidate_fits import prepare_sets, weight_sets
from fer_ray.models.scaling import SetScaler
from fer_ray.settings.feature_sets import widths_of

FEATURES = np.random.default_rng(8).normal(size=(50, 6)) * [1, 9, 2, 5, 30, 0.1] + 4


def test_sets_of_a_union_have_equal_weight() -> None:
    scaled = SetScaler((5, 1)).fit_transform(FEATURES)
    assert np.allclose(scaled.mean(axis=0), 0)
    spread = scaled.var(axis=0)
    assert np.isclose(spread[:5].sum(), 3)
    assert np.isclose(spread[5], 3)


def test_single_set_has_standard_scores() -> None:
    plain = StandardScaler().fit_transform(FEATURES)
    assert np.array_equal(SetScaler((6,)).fit_transform(FEATURES), plain)


def test_weights_are_shares_of_the_squared_distance() -> None:
    spread = SetScaler((5, 1), (1.0, 3.0)).fit_transform(FEATURES).var(axis=0)
    assert np.isclose(spread[:5].sum(), 6 / 4)
    assert np.isclose(spread[5], 6 * 3 / 4)


@pytest.mark.parametrize("weights", [(), (0.5, 2.0)])
def test_search_and_trials_weight_sets_alike(weights: tuple[float, ...]) -> None:
    scaled = SetScaler((5, 1), weights).fit_transform(FEATURES)
    space = weight_sets(prepare_sets(FEATURES, FEATURES[:7], (5, 1)), weights)
    assert np.allclose(space.gram, scaled @ scaled.T / 6)
    assert np.allclose(space.cross, scaled[:7] @ scaled.T / 6)
    assert np.allclose(space.squares, np.sum(scaled[:7] ** 2, axis=1) / 6)


def test_widths_of_a_union() -> None:
    assert widths_of("hog+delta+dlib_resnet", 2028) == (1764, 136, 128)
    assert widths_of("hog+mine", 1774) == (1764, 10)
