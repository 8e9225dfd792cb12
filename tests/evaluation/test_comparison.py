import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fer_ray.errors import UserError
from fer_ray.evaluation.comparison import compare, compare_by_name, mcnemar_p, resampled_p
from fer_ray.evaluation.protocols.ckplus_cohorts import filter_subjects, late_cohort
from fer_ray.vocabulary import EMOTIONS

CONTEMPT, HAPPY = EMOTIONS.index("contempt"), EMOTIONS.index("happy")


def predictions_of(correct: np.ndarray, trial: np.ndarray | None = None) -> pd.DataFrame:
    """Predictions of 40 subjects with 3 images each; wrong ones are 1."""
    n = len(correct)
    return pd.DataFrame(
        {
            "trial": np.zeros(n, int) if trial is None else trial,
            "image_id": [f"I{i}" for i in range(n)],
            "subject": [f"S{i // 3}" for i in range(n)],
            "label": 0,
            "predicted": np.where(correct, 0, 1),
        }
    )


def trials(protocol: str, n: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"protocol": [protocol] * n, "n_test": 20, "n_train": 80})


def test_comparison_of_folds() -> None:
    first, second = np.ones(120, bool), np.arange(120) % 4 > 0
    comparison = compare(
        (trials("loso"), predictions_of(first)),
        (trials("loso"), predictions_of(second).sample(frac=1)),
    )
    assert comparison.difference == pytest.approx(0.25)
    assert (comparison.only_first, comparison.only_second) == (30, 0)
    assert comparison.p_value == pytest.approx(2 * 0.5**30)
    assert 0.15 < comparison.interval[0] < 0.25 < comparison.interval[1] < 0.35
    assert comparison.method == "bootstrap over subjects"


def test_comparison_of_random_trials() -> None:
    trial = np.repeat(np.arange(6), 20)
    first, second = np.arange(120) % 20 > 1, np.arange(120) % 20 > 2 + np.arange(120) // 20 % 3
    comparison = compare(
        (trials("random", 6), predictions_of(first, trial)),
        (trials("random", 6), predictions_of(second, trial)),
    )
    gains = np.array([1, 2, 3, 1, 2, 3]) / 20
    t = gains.mean() / np.sqrt((1 / 6 + 0.25) * gains.var(ddof=1))
    assert comparison.difference == pytest.approx(gains.mean())
    assert comparison.p_value == pytest.approx(2 * stats.t.sf(t, 5))
    assert comparison.interval[0] < gains.mean() < comparison.interval[1]
    assert (comparison.interval[0] > 0) == (comparison.p_value < 0.05)


def test_p_values_of_equal_models() -> None:
    assert mcnemar_p(0, 0) == 1
    assert mcnemar_p(5, 5) == pytest.approx(1)
    assert resampled_p(np.zeros(5), 0.25) == 1
    assert np.isnan(resampled_p(np.zeros(1), 0.25))


def test_comparison_needs_the_same_images() -> None:
    first, second = predictions_of(np.ones(9, bool)), predictions_of(np.ones(12, bool))
    with pytest.raises(UserError, match="not tested on the same images"):
        compare((trials("loso"), first), (trials("loso"), second))
    with pytest.raises(UserError, match=r"no experiment a\. Its experiments: none"):
        compare_by_name([], "a", "b")


def test_contempt_within_the_late_cohort() -> None:
    rows = [
        *[("S010", HAPPY, HAPPY)] * 9, ("S010", HAPPY, CONTEMPT),
        *[("S138", CONTEMPT, CONTEMPT)] * 3, ("S147", CONTEMPT, HAPPY),
        ("S147", HAPPY, CONTEMPT), ("S999", HAPPY, HAPPY),
    ]  # fmt: skip
    predictions = pd.DataFrame(rows, columns=["subject", "label", "predicted"])
    cohort = late_cohort(predictions)
    assert cohort is not None
    assert (cohort.subjects, cohort.contempt_images) == (3, 4)
    assert (cohort.recall, cohort.precision) == (0.75, 0.75)
    assert (cohort.called_within, cohort.called_before) == (0.5, 0.1)
    assert late_cohort(filter_subjects(predictions, lambda name: name < "S138")) is None


def test_unknown_subjects_match_no_cohort() -> None:
    predictions = pd.DataFrame({"subject": [None, "S200"], "label": 0, "predicted": 0})
    assert len(filter_subjects(predictions, lambda _: True)) == 1
