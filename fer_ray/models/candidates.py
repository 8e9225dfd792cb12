"""Selecting classifiers within a training part: inner folds, calibration and soft voting."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.trial_store import TrialResult, score_trial
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.evaluation.temperature import fit_temperature_scaling
from fer_ray.models.candidate_fits import (
    Floats,
    PreparedFeatures,
    class_scores,
    prepare_sets,
    weight_sets,
)
from fer_ray.models.configurations import Configuration
from fer_ray.settings.feature_sets import widths_of
from fer_ray.settings.training import Metric
from fer_ray.vocabulary import EMOTIONS


@dataclass(frozen=True)
class Candidate:
    """A configuration with its cross-validated scores within the training part.

    Attributes:
        configuration: The configuration.
        scores: Class scores of each training image (n_train, 8), from a model that was not trained
            on it.
        accuracy: Share of training images whose highest score is that of their class.
        macro_recall: Mean recall over classes.
    """

    configuration: Configuration
    scores: Floats
    accuracy: float
    macro_recall: float

    def rank(self, metric: Metric) -> tuple[float, int]:
        """Return a sort key: best first, ties by configuration number."""
        return -(self.accuracy if metric == "accuracy" else self.macro_recall), (
            self.configuration.number
        )


def evaluate_candidates(
    configurations: list[Configuration],
    samples: Samples,
    train: NDArray[np.int64],
    inner: list[Split],
) -> list[Candidate]:
    """Fit each configuration of one feature set in each inner fold.

    Args:
        configurations: Configurations on the feature set of `samples`.
        samples: Samples that include the training part.
        train: Indices of the training part.
        inner: Folds of the training part.
    """
    features, labels = samples.features[train], samples.labels[train]
    scores = np.full((len(configurations), len(train), len(EMOTIONS)), -np.inf)
    widths = None
    if configurations:
        widths = widths_of(configurations[0].feature_set, features.shape[1])
    for fold in inner:
        if len(set(labels[fold.train])) < 2:
            continue  # a single class: the test images of the fold remain without scores
        part = _TrainingPart(samples, train[fold.train], features[fold.test], widths)
        for row, configuration in enumerate(configurations):
            scores[row, fold.test] = part.class_scores(configuration)
    return [
        Candidate(configuration, own_scores, *accuracy_and_recall(labels, own_scores))
        for configuration, own_scores in zip(configurations, scores, strict=True)
    ]


class _TrainingPart:
    """Fits configurations to images, or to images and their mirrored copies, and scores others.

    Args:
        samples: Samples that include the images.
        rows: Indices of the images to fit.
        scored: Features of the images to score (m, width).
        widths: Width of each set of a union.
    """

    def __init__(
        self,
        samples: Samples,
        rows: NDArray[np.int64],
        scored: Floats,
        widths: tuple[int, ...] | None,
    ) -> None:
        self._samples, self._rows, self._scored, self._widths = samples, rows, scored, widths
        self._sets: dict[bool, list[PreparedFeatures]] = {}
        self._equal: dict[bool, PreparedFeatures] = {}

    def class_scores(self, configuration: Configuration) -> Floats:
        """Fit a configuration and return the scores (m, 8) of `candidate_fits.class_scores`."""
        mirrors, labels = configuration.mirrors, self._samples.labels[self._rows]
        if mirrors not in self._sets:
            self._sets[mirrors] = self._prepare(mirrors)
            self._equal[mirrors] = weight_sets(self._sets[mirrors])
        features, weights = self._equal[mirrors], configuration.set_weights
        if weights:
            features = weight_sets(self._sets[mirrors], weights)
        return class_scores(configuration, features, np.tile(labels, 2) if mirrors else labels)

    def _prepare(self, mirrors: bool) -> list[PreparedFeatures]:
        fitted = self._samples.features[self._rows]
        if mirrors:
            assert self._samples.mirrored is not None  # only such sets are searched with copies
            fitted = np.concatenate([fitted, self._samples.mirrored[self._rows]])
        return list(prepare_sets(fitted, self._scored, self._widths))


def accuracy_and_recall(labels: NDArray[np.int8], scores: Floats) -> tuple[float, float]:
    """Compute accuracy and mean recall of the highest scores (n, 8).

    A search calls this for every configuration of every trial. The input checks of scikit-learn's
    functions would take about a hundred times as long as the computation.
    """
    correct = scores.argmax(axis=1) == labels
    images = np.bincount(labels, minlength=len(EMOTIONS))
    hits = np.bincount(labels[correct], minlength=len(EMOTIONS))
    recalls = np.divide(hits, images, out=np.full(len(EMOTIONS), np.nan), where=images > 0)
    return float(correct.mean()), float(np.nanmean(recalls))


def select_voters(
    candidates: list[Candidate], labels: NDArray[np.int8], voters: int, metric: Metric
) -> list[Candidate]:
    """Select the best candidates if their mean probability is at least as good as the best alone.

    A tie goes to the vote: it is better calibrated, and depends less on which candidate is first.

    Args:
        candidates: One candidate per classifier and feature set.
        labels: Class codes of the training part.
        voters: Maximum number of candidates that vote.
        metric: The metric to compare, within the training part.

    Returns:
        Several candidates, or the best one.
    """
    ranked = sorted(candidates, key=lambda candidate: candidate.rank(metric))[:voters]
    known = np.isfinite(ranked[0].scores).any(axis=1)
    votes = [
        fit_temperature_scaling(labels, candidate.scores).probabilities(candidate.scores[known])
        for candidate in ranked
    ]
    position = 0 if metric == "accuracy" else 1
    alone = accuracy_and_recall(labels[known], votes[0])[position]
    together = accuracy_and_recall(labels[known], np.mean(votes, axis=0))[position]
    return ranked if together >= alone else ranked[:1]


def fit_and_predict(
    members: list[Candidate], by_set: dict[str, Samples], split: Split, started: float
) -> TrialResult:
    """Fit the members on the entire training part and predict with their mean probability.

    Args:
        members: One candidate, or several that vote.
        by_set: The samples with each feature set.
        split: Training part and test images.
        started: `time.perf_counter()` at the beginning of the trial.
    """
    rows = np.concatenate([split.train, split.test])
    votes = [_probabilities(member, by_set, split.train, rows) for member in members]
    probabilities = np.mean(votes, axis=0)
    labels = next(iter(by_set.values())).labels
    seconds = time.perf_counter() - started
    return score_trial(labels[rows], probabilities, len(split.train), seconds)


def _probabilities(
    member: Candidate, by_set: dict[str, Samples], train: NDArray[np.int64], rows: NDArray[np.int64]
) -> Floats:
    name = member.configuration.feature_set
    samples = by_set[name]
    widths = widths_of(name, samples.features.shape[1])
    part = _TrainingPart(samples, train, samples.features[rows], widths)
    labels, scores = samples.labels[train], part.class_scores(member.configuration)
    return fit_temperature_scaling(labels, member.scores).probabilities(scores)
