"""Paired comparison of two experiments on the same test images."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fer_ray.errors import UserError
from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.results import ExperimentResults, find_experiment
from fer_ray.evaluation.experiments.summary import BOOTSTRAP_SEED, independent_groups, is_folds

PAIRED = ["trial", "image_id"]

Tables = tuple[pd.DataFrame, pd.DataFrame]  # trials and predictions of one experiment


@dataclass(frozen=True)
class Comparison:
    """The difference between two experiments.

    Attributes:
        difference: Accuracy of the first minus accuracy of the second.
        interval: 95% interval of the difference.
        method: How the interval was computed.
        p_value: Probability of a difference at least this large under the null hypothesis of equal
            accuracy; NaN if it cannot be computed.
        test: The statistical test.
        only_first: Number of test images that only the first predicts correctly.
        only_second: Number of test images that only the second predicts correctly.
    """

    difference: float
    interval: tuple[float, float]
    method: str
    p_value: float
    test: str
    only_first: int
    only_second: int

    @property
    def conclusive(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval[0] > 0 or self.interval[1] < 0


def compare_by_name(
    experiments: Iterable[ExperimentResults], first: str, second: str
) -> Comparison:
    """Compare two experiments, given by their names.

    Raises:
        UserError: An experiment does not exist, or the two cannot be compared.
    """
    items = tuple(experiments)
    a, b = find_experiment(items, first), find_experiment(items, second)
    return compare((a.trials, a.predictions), (b.trials, b.predictions))


def compare(first: Tables, second: Tables) -> Comparison:
    """Compare two experiments image by image.

    Folds test each image once: the interval is a bootstrap over subjects, and the test is
    McNemar's. Random trials test images several times, with overlapping training sets: both
    interval and test are the corrected resampled t of Nadeau and Bengio.

    Args:
        first: Trials and predictions of one experiment, as in `ExperimentResults`.
        second: Those of the other.

    Raises:
        UserError: They were not tested on the same images in the same trials.
    """
    trials, pairs = first[0], _pair(first[1], second[1])
    first_correct = (pairs["label"] == pairs["predicted"]).to_numpy()
    second_correct = (pairs["label_other"] == pairs["predicted_other"]).to_numpy()
    discordant = (
        int((first_correct & ~second_correct).sum()),
        int((second_correct & ~first_correct).sum()),
    )
    gains = first_correct.astype(float) - second_correct.astype(float)
    if is_folds(trials.iloc[0]["protocol"]):
        groups, name = independent_groups(pairs)
        interval = metrics.subject_bootstrap_interval(
            gains, groups.to_numpy(dtype=object), BOOTSTRAP_SEED
        )
        tested = f"bootstrap over {name}", mcnemar_p(*discordant), "exact McNemar"
        return Comparison(float(gains.mean()), interval, *tested, *discordant)
    per_trial = pd.Series(gains).groupby(pairs["trial"]).mean().to_numpy()
    ratio = float((trials["n_test"] / trials["n_train"]).mean())
    interval = resampled_difference_interval(per_trial, ratio)
    p_value = resampled_p(per_trial, ratio)
    tested = "corrected resampled t over trials", p_value, "corrected resampled t test"
    return Comparison(float(per_trial.mean()), interval, *tested, *discordant)


def _pair(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    pairs = first.merge(second, on=PAIRED, suffixes=("", "_other"), validate="one_to_one")
    if not len(pairs) == len(first) == len(second):
        raise UserError(
            "These experiments were not tested on the same images. Run both with the same "
            "protocol, classes and seed."
        )
    return pairs


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Compute the exact two-sided p-value of McNemar's test.

    Under the null hypothesis, an image that only one of two models predicts correctly is equally
    likely to be either's (McNemar, Psychometrika 12, 1947). The test assumes independent images,
    which images of one subject are not.

    Args:
        only_first: Number of images that only the first model predicts correctly.
        only_second: Number of images that only the second model predicts correctly.
    """
    n = only_first + only_second
    return float(stats.binomtest(only_first, n, 0.5).pvalue) if n else 1.0


def resampled_p(differences: NDArray[np.floating], test_to_train: float) -> float:
    """Compute the two-sided p-value of the corrected resampled t test (Nadeau and Bengio, 2003).

    Args:
        differences: Difference of two models' scores in each random trial (n,).
        test_to_train: Number of test images divided by the number of training images.

    Returns:
        NaN for a single trial.
    """
    n = len(differences)
    if n < 2:
        return float("nan")
    spread = _resampled_spread(differences, test_to_train)
    mean = float(np.mean(differences))
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / spread, n - 1))


def resampled_difference_interval(
    differences: NDArray[np.floating], test_to_train: float, level: float = 0.95
) -> tuple[float, float]:
    """Compute the interval that corresponds to `resampled_p`; NaN for a single trial."""
    n = len(differences)
    if n < 2:
        return float("nan"), float("nan")
    quantile = float(stats.t.ppf(0.5 + level / 2, n - 1))
    half = quantile * _resampled_spread(differences, test_to_train)
    mean = float(np.mean(differences))
    return mean - half, mean + half


def _resampled_spread(differences: NDArray[np.floating], test_to_train: float) -> float:
    variance = np.var(differences, ddof=1)
    return float(np.sqrt((1 / len(differences) + test_to_train) * variance))
