import numpy as np
import pytest
from sklearn.svm import SVC

from fer_ray.evaluation.splits import random_split
from fer_ray.models.svm import CalibratedSvm, run_trial
from fer_ray.settings.training import TrialSettings

RNG = np.random.default_rng(2)
LABELS = np.repeat([0, 1, 5], [40, 30, 20]).astype(np.int8)
FEATURES = RNG.normal(size=(90, 6)) + LABELS[:, None]


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
def test_classes_equal_those_of_the_plain_svm(kernel: str) -> None:
    settings = TrialSettings(C=0.7)
    plain = SVC(kernel=kernel, C=0.7, gamma="auto", tol=1e-3).fit(FEATURES, LABELS)
    ours = CalibratedSvm(kernel, settings).fit(FEATURES, LABELS)  # type: ignore[arg-type]
    np.testing.assert_array_equal(ours.predict(FEATURES), plain.predict(FEATURES))


def test_probabilities_of_trained_classes_sum_to_one() -> None:
    model = CalibratedSvm("linear", TrialSettings()).fit(FEATURES, LABELS)
    probabilities = model.probabilities(FEATURES)
    assert probabilities.shape == (90, 8)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert not probabilities[:, [2, 3, 4, 6, 7]].any()


def test_trials_are_reproducible() -> None:
    split = random_split(LABELS, 0.8, 0.2, seed=0, trial=0)
    first, second = (run_trial("poly", TrialSettings(), FEATURES, LABELS, split) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert {**first.figures, "seconds": 0} == {**second.figures, "seconds": 0}
    assert first.figures["n_test"] == len(first.predicted) == 18


def test_scaled_features_have_no_units() -> None:
    settings = TrialSettings(scale="standard")
    stretched = FEATURES * [1, 1000, 1, 0.001, 1, 1]
    plain = CalibratedSvm("rbf", settings).fit(FEATURES, LABELS)
    other = CalibratedSvm("rbf", settings).fit(stretched, LABELS)
    np.testing.assert_array_equal(plain.predict(FEATURES), other.predict(stretched))


def test_classes_with_one_image_are_excluded() -> None:
    labels = LABELS.copy()
    labels[0] = 7
    model = CalibratedSvm("linear", TrialSettings()).fit(FEATURES, labels)
    assert not model.probabilities(FEATURES)[:, 7].any()
    assert 7 not in model.predict(FEATURES)
