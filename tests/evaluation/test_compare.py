import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fer_ray.errors import UserError
from fer_ray.evaluation.cohort import late_cohort, within_subjects
from fer_ray.evaluation.compare import compare, compare_named, mcnemar_p, resampled_p
from fer_ray.vocabulary import EMOTIONS

CONTEMPT, HAPPY = EMOTIONS.index("contempt"), EMOTIONS.index("happy")


def answers(correct: np.ndarray, trial: np.ndarray | None = None) -> pd.DataFrame:
    """Predictions of 40 subjects with 3 images each; wrong ones say 1."""
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


def test_folds_are_compared_by_subject_and_by_mcnemar() -> None:
    first, second = np.ones(120, bool), np.arange(120) % 4 > 0
    found = compare(
        (trials("loso"), answers(first)), (trials("loso"), answers(second).sample(frac=1))
    )
    assert found.difference == pytest.approx(0.25)
    assert (found.only_first, found.only_second) == (30, 0)
    assert found.p_value == pytest.approx(2 * 0.5**30)
    assert 0.15 < found.interval[0] < 0.25 < found.interval[1] < 0.35
    assert found.method == "bootstrap over subjects"


def test_random_trials_are_compared_by_the_corrected_t() -> None:
    trial = np.repeat(np.arange(6), 20)
    first, second = np.arange(120) % 20 > 1, np.arange(120) % 20 > 2 + np.arange(120) // 20 % 3
    found = compare(
        (trials("random", 6), answers(first, trial)), (trials("random", 6), answers(second, trial))
    )
    gains = np.array([1, 2, 3, 1, 2, 3]) / 20
    t = gains.mean() / np.sqrt((1 / 6 + 0.25) * gains.var(ddof=1))
    assert found.difference == pytest.approx(gains.mean())
    assert found.p_value == pytest.approx(2 * stats.t.sf(t, 5))
    assert found.interval[0] < gains.mean() < found.interval[1]
    assert (found.interval[0] > 0) == (found.p_value < 0.05)


def test_equal_models_differ_by_nothing() -> None:
    assert mcnemar_p(0, 0) == 1
    assert mcnemar_p(5, 5) == pytest.approx(1)
    assert resampled_p(np.zeros(5), 0.25) == 1
    assert np.isnan(resampled_p(np.zeros(1), 0.25))


def test_experiments_on_other_images_cannot_be_compared() -> None:
    one, other = answers(np.ones(9, bool)), answers(np.ones(12, bool))
    with pytest.raises(UserError, match="not tested on the same images"):
        compare((trials("loso"), one), (trials("loso"), other))
    with pytest.raises(UserError, match="There are: a"):
        compare_named([], "a", "b")


def test_contempt_is_looked_at_within_the_late_cohort() -> None:
    rows = [
        *[("S010", HAPPY, HAPPY)] * 9, ("S010", HAPPY, CONTEMPT),
        *[("S138", CONTEMPT, CONTEMPT)] * 3, ("S147", CONTEMPT, HAPPY),
        ("S147", HAPPY, CONTEMPT), ("S999", HAPPY, HAPPY),
    ]  # fmt: skip
    predictions = pd.DataFrame(rows, columns=["subject", "label", "predicted"])
    found = late_cohort(predictions)
    assert found is not None
    assert (found.subjects, found.contempt_images) == (3, 4)
    assert (found.recall, found.precision) == (0.75, 0.75)
    assert (found.called_within, found.called_before) == (0.5, 0.1)
    assert late_cohort(within_subjects(predictions, lambda name: name < "S138")) is None


def test_unknown_subjects_belong_to_no_cohort() -> None:
    predictions = pd.DataFrame({"subject": [None, "S200"], "label": 0, "predicted": 0})
    assert len(within_subjects(predictions, lambda _: True)) == 1
