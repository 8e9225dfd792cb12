"""Two experiments on the same test images: is one better, or only luckier?"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fer_ray.errors import UserError
from fer_ray.evaluation import metrics
from fer_ray.evaluation.results import ExperimentResults
from fer_ray.evaluation.summary import BOOTSTRAP_SEED, independent_groups, is_folds

PAIRED = ["trial", "image_id"]


@dataclass(frozen=True)
class Comparison:
    """What sets the first of two experiments apart from the second.

    Attributes:
        difference: Accuracy of the first less that of the second.
        interval: 95 % of the difference.
        method: How the interval was made.
        p_value: That so large a difference comes about by chance; nan where it cannot be told.
        test: How that was tested.
        only_first: Test images that the first alone answers correctly.
        only_second: Those that the second alone does.
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
        """Whether the interval leaves out zero."""
        return self.interval[0] > 0 or self.interval[1] < 0


Tables = tuple[pd.DataFrame, pd.DataFrame]  # trials and predictions of one experiment


def compare_named(experiments: Iterable[ExperimentResults], first: str, second: str) -> Comparison:
    """`compare` two experiments by name.

    Raises:
        UserError: There is no such experiment, or the two cannot be compared.
    """
    by_name = {item.name: item for item in experiments}
    for name in (first, second):
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise UserError(f"There is no experiment {name} in the run folder. There are: {known}.")
    one, other = by_name[first], by_name[second]
    return compare((one.trials, one.predictions), (other.trials, other.predictions))


def compare(first: Tables, second: Tables) -> Comparison:
    """Compare two experiments, image by image.

    Folds test each image once: their interval draws whole subjects again, and the test is
    McNemar's. Random trials test images several times with training sets that overlap: both
    interval and test are the corrected resampled t of Nadeau and Bengio.

    Args:
        first: Trials and predictions of one, as in `ExperimentResults`.
        second: Those of the other.

    Raises:
        UserError: They were not tested on the same images of the same trials.
    """
    (trials, answers), (_, others) = first, second
    pairs = answers.merge(others, on=PAIRED, suffixes=("", "_other"), validate="one_to_one")
    if not len(pairs) == len(answers) == len(others):
        raise UserError(
            "These experiments were not tested on the same images: give both the same protocol, "
            "classes and seed."
        )
    ours = (pairs["label"] == pairs["predicted"]).to_numpy()
    theirs = (pairs["label_other"] == pairs["predicted_other"]).to_numpy()
    apart = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    gains = ours.astype(float) - theirs.astype(float)
    if is_folds(trials.iloc[0]["protocol"]):
        groups, name = independent_groups(pairs)
        drawn = groups.to_numpy(dtype=object)
        interval = metrics.subject_bootstrap_interval(gains, drawn, BOOTSTRAP_SEED)
        tested = f"bootstrap over {name}", mcnemar_p(*apart), "exact McNemar"
        return Comparison(float(gains.mean()), interval, *tested, *apart)
    per_trial = pd.Series(gains).groupby(pairs["trial"]).mean().to_numpy()
    ratio = float((trials["n_test"] / trials["n_train"]).mean())
    interval = resampled_difference_interval(per_trial, ratio)
    tested = "corrected resampled t over trials", resampled_p(per_trial, ratio), "the same t"
    return Comparison(float(per_trial.mean()), interval, *tested, *apart)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Exact two-sided p value of McNemar's test, on images that just one of two models answers.

    Under chance each of these is as likely to be the one's as the other's (McNemar, Psychometrika
    12, 1947). Images are taken for independent, which those of one subject are not.
    """
    n = only_first + only_second
    return float(stats.binomtest(only_first, n, 0.5).pvalue) if n else 1.0


def resampled_p(differences: NDArray[np.floating], test_to_train: float) -> float:
    """Two-sided p value of the corrected resampled t test (Nadeau and Bengio, 2003).

    Args:
        differences: Of two models' scores, one per random trial (n,).
        test_to_train: Test images divided by training images.

    Returns:
        nan for a single trial.
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
    """The interval that belongs to `resampled_p`; nan for a single trial."""
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
