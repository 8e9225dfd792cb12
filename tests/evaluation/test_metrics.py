import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score
from sklearn.metrics import log_loss as sklearn_log_loss

from fer_ray.evaluation import metrics

RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 6, 200)  # classes 6 and 7 have no images
PREDICTED = np.where(RNG.random(200) < 0.7, LABELS, RNG.integers(0, 8, 200))
PROBABILITIES = RNG.dirichlet(np.ones(8), 200)


@pytest.mark.filterwarnings("error")
def test_averages_over_classes_that_have_images() -> None:
    present = np.unique(LABELS)
    recall, f1 = metrics.macro_recall_and_f1(LABELS, PREDICTED)
    assert recall == recall_score(LABELS, PREDICTED, labels=present, average="macro")
    assert f1 == f1_score(LABELS, PREDICTED, labels=present, average="macro")
    assert metrics.macro_recall_and_f1(np.array([1, 2]), np.array([3, 3])) == (0, 0)


def test_counts_and_quantiles_equal_those_of_other_libraries() -> None:
    codes = LABELS.astype(np.int8), PREDICTED.astype(np.int8)
    assert metrics.accuracy(*codes) == accuracy_score(*codes)
    expected = confusion_matrix(*codes, labels=range(8))
    assert np.array_equal(metrics.confusion_counts(*codes, 8), expected)
    scores = np.array([0.5, 0.6, 0.7])
    half = stats.t.ppf(0.975, 2) * np.sqrt(np.var(scores, ddof=1) / 3)
    assert metrics.resampled_interval(scores, 0)[0] == float(np.mean(scores)) - float(half)
    z = stats.norm.ppf(0.975)
    low, high = metrics.wilson_interval(0.5, 10)
    assert (low + high) / 2 == pytest.approx(0.5)
    assert (high - low) / 2 == pytest.approx(z / np.sqrt(10 + z * z) / 2)


def test_log_loss_equals_that_of_scikit_learn() -> None:
    expected = sklearn_log_loss(LABELS, PROBABILITIES, labels=range(8))
    assert metrics.log_loss(LABELS, PROBABILITIES) == pytest.approx(expected)
    assert np.isnan(metrics.log_loss(LABELS, np.full((200, 8), np.nan)))  # a diverged network


def test_recalls_of_classes_without_images() -> None:
    recalls = metrics.class_recalls(confusion_matrix(LABELS, PREDICTED, labels=range(8)))
    assert np.isnan(recalls[6:]).all()
    assert not np.isnan(recalls[:6]).any()
    assert np.nanmean(recalls) == pytest.approx(metrics.macro_recall_and_f1(LABELS, PREDICTED)[0])


def test_log_loss_of_a_probability_of_zero_is_finite() -> None:
    assert 30 < metrics.log_loss(np.array([1]), np.array([[1.0, 0.0]])) < 40


def test_resampled_interval() -> None:
    scores = np.array([0.82, 0.85, 0.79, 0.88, 0.84])
    low, high = metrics.resampled_interval(scores, 0.25)
    plain_low, plain_high = metrics.resampled_interval(scores, 0.0)
    assert low < plain_low < scores.mean() < plain_high < high
    # t(0.975, 4) · sqrt((1/5 + 1/4) · s²), with s² by hand
    half = 2.7764451 * np.sqrt((1 / 5 + 0.25) * np.var(scores, ddof=1))
    assert (low, high) == pytest.approx((scores.mean() - half, scores.mean() + half))


def test_subject_bootstrap_keeps_subjects_together() -> None:
    subjects = np.repeat(np.array([f"S{n}" for n in range(20)], dtype=object), 10)
    by_subject = np.repeat(np.arange(20) % 2 == 0, 10)  # all correct or all wrong, by subject
    alternating = np.tile([True, False], 100)  # half correct in every subject
    wide = metrics.subject_bootstrap_interval(by_subject, subjects, seed=1)
    narrow = metrics.subject_bootstrap_interval(alternating, subjects, seed=1)
    assert wide[1] - wide[0] > 0.3
    assert narrow == (0.5, 0.5)
    assert wide == metrics.subject_bootstrap_interval(by_subject, subjects, seed=1)


def test_calibration_error() -> None:
    confident = np.tile([0.9, 0.1], (10, 1))
    assert metrics.expected_calibration_error(np.zeros(10, int), confident) == pytest.approx(0.1)
    nine_of_ten = np.array([0] * 9 + [1])
    assert metrics.expected_calibration_error(nine_of_ten, confident) == pytest.approx(0, abs=1e-12)
    assert metrics.expected_calibration_error(np.ones(10, int), np.eye(2)[[0] * 10]) == 1


def test_calibration_error_by_chance() -> None:
    even = np.tile([0.5, 0.5], (400, 1))
    # The mean distance of a binomial share from 1/2 is √(2 / π) · √(1/4 / n) for large n.
    expected = np.sqrt(2 / np.pi) * 0.5 / 20
    assert metrics.chance_calibration_error(even) == pytest.approx(expected, rel=0.1)
    assert metrics.chance_calibration_error(np.eye(2)) == 0
    fewer = metrics.chance_calibration_error(even[:100])
    assert fewer == pytest.approx(2 * expected, rel=0.1)


def test_wilson_interval() -> None:
    low, high = metrics.wilson_interval(1.0, 18)
    assert (round(low, 3), high) == (0.824, 1.0)
    low, high = metrics.wilson_interval(0.5, 100)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)
    assert np.isnan(metrics.wilson_interval(float("nan"), 0)).all()
