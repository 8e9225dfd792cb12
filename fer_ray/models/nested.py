"""Choosing by what lies inside a training part alone: inner folds, calibration, soft vote."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from fer_ray.evaluation import metrics
from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.splits import Split
from fer_ray.evaluation.trial_store import TrialResult, trial_result
from fer_ray.models.candidates import Configuration
from fer_ray.models.search_space import Floats, Space, class_scores
from fer_ray.settings.feature_sets import widths_of
from fer_ray.settings.training import Metric
from fer_ray.vocabulary import EMOTIONS

LOG_TEMPERATURES = (-5.0, 5.0)  # bounds of the search for a temperature


@dataclass(frozen=True)
class Candidate:
    """A configuration with its answers inside the training part.

    Attributes:
        configuration: What was fitted.
        scores: Of each training image (n_train, 8) by a model that was not trained on it.
        accuracy: Share of training images that are answered correctly in this way.
        macro_recall: Mean recall over classes.
    """

    configuration: Configuration
    scores: Floats
    accuracy: float
    macro_recall: float

    def rank(self, metric: Metric) -> tuple[float, int]:
        """Sorts the best first, and of equals the one drawn first."""
        return -(self.accuracy if metric == "accuracy" else self.macro_recall), (
            self.configuration.number
        )


def examine(
    configurations: list[Configuration], samples: Samples, train: NDArray[np.int64],
    inner: list[Split],
) -> list[Candidate]:  # fmt: skip
    """Fit each configuration of one feature set in each inner fold; features are prepared once.

    Args:
        configurations: All on the feature set of `samples`.
        samples: What the training part is of.
        train: Its indices.
        inner: Its folds.
    """
    features, labels = samples.features[train], samples.labels[train]
    scores = np.full((len(configurations), len(train), len(EMOTIONS)), -np.inf)
    widths = widths_of(configurations[0].feature_set) if configurations else None
    for fold in inner:
        if len(set(labels[fold.train])) < 2:
            continue  # nothing to tell apart: its images stay without an answer
        space = Space(features[fold.train], features[fold.test], widths)
        for row, configuration in enumerate(configurations):
            scores[row, fold.test] = class_scores(configuration, space, labels[fold.train])
    return [
        Candidate(configuration, own, *_figures(labels, own))
        for configuration, own in zip(configurations, scores, strict=True)
    ]


def _figures(labels: NDArray[np.int8], scores: Floats) -> tuple[float, float]:
    """Accuracy and mean recall of the highest scores (n, 8)."""
    predicted = scores.argmax(axis=1)
    counts = metrics.confusion_counts(labels, predicted, len(EMOTIONS))
    return metrics.accuracy(labels, predicted), metrics.macro_recall(counts)


def temperature(labels: NDArray[np.int8], scores: Floats) -> float:
    """What to multiply scores by, so that their softmax has the least log loss.

    The inverse of the temperature of Guo et al. (ICML 2017): one number for all classes, which
    changes no answer.
    """
    known = np.isfinite(scores).any(axis=1)

    def loss(log_factor: float) -> float:
        shares = softmax(np.exp(log_factor) * scores[known], axis=1)
        return metrics.log_loss(labels[known], shares)

    found = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def best_members(
    candidates: list[Candidate], labels: NDArray[np.int8], voters: int, metric: Metric
) -> list[Candidate]:
    """The best few where their mean probability answers no worse than the best one alone.

    Of equals the vote: it is the better calibrated, and depends less on which one came first.

    Args:
        candidates: One of each classifier and feature set.
        labels: Of the training part.
        voters: How many may vote.
        metric: What decides, inside the training part.
    """
    ranked = sorted(candidates, key=lambda one: one.rank(metric))[:voters]
    known = np.isfinite(ranked[0].scores).any(axis=1)
    votes = [softmax(temperature(labels, one.scores) * one.scores[known], axis=1) for one in ranked]
    pick = 0 if metric == "accuracy" else 1
    alone = _figures(labels[known], votes[0])[pick]
    together = _figures(labels[known], np.mean(votes, axis=0))[pick]
    return ranked if together >= alone else ranked[:1]


def answer(
    members: list[Candidate], by_set: dict[str, Samples], split: Split, started: float
) -> TrialResult:
    """Fit the members on the whole training part and let their mean probability answer.

    Args:
        members: One, or several that vote.
        by_set: The samples with each feature set.
        split: Training part and test images.
        started: `time.perf_counter()` at the beginning of the trial.
    """
    rows = np.concatenate([split.train, split.test])
    votes = [_probabilities(member, by_set, split.train, rows) for member in members]
    probabilities = np.mean(votes, axis=0)
    labels = next(iter(by_set.values())).labels
    seconds = time.perf_counter() - started
    return trial_result(labels[rows], probabilities, len(split.train), seconds)


def _probabilities(
    member: Candidate, by_set: dict[str, Samples], train: NDArray[np.int64], rows: NDArray[np.int64]
) -> Floats:
    name = member.configuration.feature_set
    samples = by_set[name]
    space = Space(samples.features[train], samples.features[rows], widths_of(name))
    labels = samples.labels[train]
    scores = class_scores(member.configuration, space, labels)
    shares: Floats = softmax(temperature(labels, member.scores) * scores, axis=1)
    return shares
