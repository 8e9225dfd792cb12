import numpy as np
import pytest
from sklearn.svm import SVC

from fer_ray.models import libsvm
from fer_ray.models.bundles.skops_files import dump_estimator, load_estimator
from fer_ray.models.libsvm import separate_duplicates
from fer_ray.models.linear_svm import LinearSvm

RNG = np.random.default_rng(4)
LABELS = np.repeat(np.array([0, 3, 4, 7], np.int8), (30, 12, 20, 25))
FEATURES = RNG.normal(size=(8, 300))[LABELS] + RNG.normal(scale=4, size=(len(LABELS), 300))
SCORED = RNG.normal(size=(40, 300)) * 3


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_equals_svc(class_weight: str | None, n_classes: int) -> None:
    rows = np.isin(LABELS, np.unique(LABELS)[:n_classes])
    parameters = {"C": 1e-4, "tol": 1e-8, "class_weight": class_weight}
    svc = SVC(kernel="linear", **parameters).fit(FEATURES[rows], LABELS[rows])
    svm = LinearSvm(**parameters).fit(FEATURES[rows], LABELS[rows])
    expected = svc.decision_function(SCORED)
    np.testing.assert_allclose(svm.decision_function(SCORED), expected, atol=1e-5)
    np.testing.assert_allclose(svm.coef_, svc.coef_, atol=1e-6)
    for one in (svc, svm):
        one.set_params(decision_function_shape="ovo")
    pairs = svc.decision_function(SCORED)
    np.testing.assert_allclose(svm.decision_function(SCORED), pairs, atol=1e-5)
    best = svc.classes_[(expected > 0).astype(int) if n_classes == 2 else expected.argmax(axis=1)]
    np.testing.assert_array_equal(svm.predict(SCORED), best)


def test_row_does_not_depend_on_the_batch() -> None:
    svm = LinearSvm().fit(FEATURES, LABELS)
    together = svm.decision_function(SCORED)
    np.testing.assert_array_equal(together[7:8], svm.decision_function(SCORED[7:8]))


def test_skops_file_restores_it() -> None:
    svm = LinearSvm(class_weight="balanced").fit(FEATURES, LABELS)
    restored = load_estimator(dump_estimator(svm), "model.skops")
    np.testing.assert_array_equal(restored.decision_function(SCORED), svm.decision_function(SCORED))


def test_nearly_identical_rows_do_not_keep_the_optimiser_busy() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(180, 136))
    labels = random.integers(0, 4, 180)
    copies = features + 1e-9 * random.normal(size=features.shape)
    rows, twice = np.concatenate([features, copies]), np.tile(labels, 2)
    model = LinearSvm().fit(rows, twice)
    np.testing.assert_array_equal(model.predict(features), labels)


def test_products_without_duplicates_stay_as_they_are() -> None:
    features = np.random.default_rng(0).normal(size=(20, 5))
    gram = features @ features.T
    assert separate_duplicates(gram) is gram


def test_stopped_optimiser_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    LinearSvm().fit(FEATURES, LABELS)
    assert not caplog.messages
    monkeypatch.setattr(libsvm, "MAX_ITERATIONS", 1)
    LinearSvm().fit(FEATURES, LABELS)
    assert "stopped after 1 steps" in caplog.messages[0]
