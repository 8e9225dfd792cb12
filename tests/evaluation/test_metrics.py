import numpy as np
import pytest
from sklearn import metrics as peer

from fer_ray.evaluation import metrics

RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 6, 200)  # classes 6 and 7 have no images
PREDICTED = np.where(RNG.random(200) < 0.7, LABELS, RNG.integers(0, 8, 200))
PROBABILITIES = RNG.dirichlet(np.ones(8), 200)


def test_figures_equal_those_of_scikit_learn() -> None:
    counts = metrics.confusion_counts(LABELS, PREDICTED, 8)
    present = np.unique(LABELS)
    np.testing.assert_array_equal(counts, peer.confusion_matrix(LABELS, PREDICTED, labels=range(8)))
    assert metrics.accuracy(LABELS, PREDICTED) == peer.accuracy_score(LABELS, PREDICTED)
    assert metrics.macro_recall(counts) == pytest.approx(
        peer.recall_score(LABELS, PREDICTED, labels=present, average="macro")
    )
    assert metrics.macro_f1(counts) == pytest.approx(
        peer.f1_score(LABELS, PREDICTED, labels=present, average="macro")
    )
    assert metrics.log_loss(LABELS, PROBABILITIES) == pytest.approx(
        peer.log_loss(LABELS, PROBABILITIES, labels=range(8))
    )


def test_a_class_without_images_has_no_recall() -> None:
    counts = metrics.confusion_counts(LABELS, PREDICTED, 8)
    assert np.isnan(metrics.recalls(counts)[6:]).all()
    assert not np.isnan(metrics.recalls(counts)[:6]).any()


def test_a_probability_of_zero_costs_much_but_not_infinity() -> None:
    assert 30 < metrics.log_loss(np.array([1]), np.array([[1.0, 0.0]])) < 40


def test_the_resampled_interval_is_wider_than_the_plain_one_and_holds_the_mean() -> None:
    scores = np.array([0.82, 0.85, 0.79, 0.88, 0.84])
    low, high = metrics.resampled_interval(scores, 0.25)
    plain_low, plain_high = metrics.resampled_interval(scores, 0.0)
    assert low < plain_low < scores.mean() < plain_high < high
    # t(0.975, 4) · sqrt((1/5 + 1/4) · s²), with s² by hand
    half = 2.7764451 * np.sqrt((1 / 5 + 0.25) * np.var(scores, ddof=1))
    assert (low, high) == pytest.approx((scores.mean() - half, scores.mean() + half))


def test_the_subject_bootstrap_keeps_subjects_together() -> None:
    subjects = np.repeat(np.array([f"S{n}" for n in range(20)], dtype=object), 10)
    by_subject = np.repeat(np.arange(20) % 2 == 0, 10)  # all right or all wrong, by subject
    alternating = np.tile([True, False], 100)  # half right in every subject
    wide = metrics.subject_bootstrap_interval(by_subject, subjects, seed=1)
    narrow = metrics.subject_bootstrap_interval(alternating, subjects, seed=1)
    assert wide[1] - wide[0] > 0.3
    assert narrow == (0.5, 0.5)
    assert wide == metrics.subject_bootstrap_interval(by_subject, subjects, seed=1)


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    sure = np.tile([0.9, 0.1], (10, 1))
    assert metrics.expected_calibration_error(np.zeros(10, int), sure) == pytest.approx(0.1)
    nine_of_ten = np.array([0] * 9 + [1])
    assert metrics.expected_calibration_error(nine_of_ten, sure) == pytest.approx(0, abs=1e-12)
    assert metrics.expected_calibration_error(np.ones(10, int), np.eye(2)[[0] * 10]) == 1


def test_wilsons_interval_keeps_its_width_where_all_is_right() -> None:
    low, high = metrics.wilson_interval(1.0, 18)
    assert (round(low, 3), high) == (0.824, 1.0)
    low, high = metrics.wilson_interval(0.5, 100)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)
    assert np.isnan(metrics.wilson_interval(float("nan"), 0)).all()
