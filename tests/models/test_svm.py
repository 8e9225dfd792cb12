from dataclasses import replace

import numpy as np
import pytest
from sklearn.svm import SVC

from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.experiment import plan_experiments
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.folds import Folds
from fer_ray.evaluation.protocols.inner_splits import calibration_folds
from fer_ray.evaluation.protocols.splits import random_split
from fer_ray.models.svm import CalibratedSvm
from fer_ray.models.svm_trials import run_trial
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.settings.training import Calibration, TrialSettings

RNG = np.random.default_rng(2)
LABELS = np.repeat([0, 1, 5], [40, 30, 20]).astype(np.int8)
FEATURES = RNG.normal(size=(90, 6)) + LABELS[:, None]
PEOPLE = [f"S{row % 15}" for row in range(90)]
SAMPLES = Samples([f"I{row}" for row in range(90)], PEOPLE, LABELS, FEATURES)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
def test_classes_equal_those_of_the_plain_svm(kernel: str) -> None:
    settings = TrialSettings(C=0.7)
    plain = SVC(kernel=kernel, C=0.7, gamma="auto", tol=1e-3).fit(FEATURES, LABELS)
    ours = CalibratedSvm(kernel, settings).fit(FEATURES, LABELS)
    np.testing.assert_array_equal(ours.predict(FEATURES), plain.predict(FEATURES))


def test_probabilities_of_trained_classes_sum_to_one() -> None:
    model = CalibratedSvm("linear", TrialSettings()).fit(FEATURES, LABELS)
    probabilities = model.probabilities(FEATURES)
    assert probabilities.shape == (90, 8)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert not probabilities[:, [2, 3, 4, 6, 7]].any()


@pytest.mark.parametrize("calibration", ["platt", "temperature"])
def test_trials_are_reproducible(calibration: Calibration) -> None:
    split = random_split(LABELS, 0.8, 0.2, seed=0, trial=0)
    arguments = ("poly", TrialSettings(), calibration, SAMPLES, split)
    first, second = (run_trial(*arguments) for _ in range(2))
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


@pytest.mark.parametrize(
    ("protocol", "setting", "calibration", "suffix"),
    [
        ("random", "auto", "platt", ""),
        ("random", "temperature", "temperature", "-calibration=temperature"),
        ("loso", "auto", "temperature", ""),
        ("loso", "platt", "platt", "-calibration=platt"),
    ],
)
def test_calibration_of_a_protocol(
    protocol: str, setting: str, calibration: str, suffix: str
) -> None:
    settings = TrialSettings.model_validate({"calibration": setting, "kernels": ["linear"]})
    (planned,) = plan_experiments(settings, Folds(protocol, []), "frames")
    assert planned.calibration == calibration
    assert planned.name == f"svm-linear-reference-{protocol}{suffix}"


def test_temperature_comes_from_people_without_other_images() -> None:
    rng = np.random.default_rng(7)
    labels = np.tile([1, 5, 6], 40).astype(np.int8)
    people = np.repeat(np.arange(20), 6)
    # Each person differs, so images of known people are much easier than those of new ones.
    features = 0.8 * np.eye(3)[np.tile([0, 1, 2], 40)] @ rng.normal(size=(3, 30))
    features += rng.normal(size=(20, 30))[people] + rng.normal(scale=0.1, size=(120, 30))
    samples = Samples(
        [f"I{row}" for row in range(120)], [f"S{person}" for person in people], labels, features
    )
    train = np.flatnonzero(people < 14)
    test = np.flatnonzero(people >= 14)
    model = TemperatureSvm("linear", TrialSettings()).fit(samples, train)
    assert model.by_subject
    folds, by_subject = calibration_folds(samples, train)
    assert by_subject
    for fold in folds:
        assert not set(people[train[fold.train]]) & set(people[train[fold.test]])
    platt = CalibratedSvm("linear", TrialSettings()).fit(features[train], labels[train])
    losses = [metrics.log_loss(labels[test], one.probabilities(features[test]))
              for one in (model, platt)]  # fmt: skip
    assert losses[0] < losses[1]


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_agree_with_the_svm(classes: int) -> None:
    rows = np.flatnonzero(np.isin(LABELS, [0, 1, 5][:classes]))
    model = TemperatureSvm("linear", TrialSettings()).fit(SAMPLES, rows)
    predicted = model.predict(FEATURES[rows])
    same = predicted == model.estimator.predict(FEATURES[rows])
    assert same.mean() > 0.95  # ties between votes may differ
    assert np.mean(predicted == LABELS[rows]) > 0.8


def test_single_person_is_calibrated_on_folds_of_images() -> None:
    alone = replace(SAMPLES, subjects=["S1"] * 90)
    model = TemperatureSvm("linear", TrialSettings()).fit(alone, np.arange(90))
    assert not model.by_subject
    assert np.isfinite(model.held_out_scores[:, [0, 1, 5]]).all()
