"""What a search chooses from: configurations, drawn at random, each a classifier with settings."""

import json
from dataclasses import dataclass

import numpy as np

from fer_ray.settings.training import Classifier, SearchSettings


@dataclass(frozen=True)
class Range:
    """Where a parameter is drawn from, evenly in its logarithm."""

    low: float
    high: float
    whole: bool = False

    def draw(self, generator: np.random.Generator) -> float:
        """One value; a whole number where the parameter is one."""
        value = float(np.exp(generator.uniform(np.log(self.low), np.log(self.high))))
        return round(value) if self.whole else value


@dataclass(frozen=True)
class Family:
    """A classifier, how often it is drawn, and the parameters it has.

    Boosting is drawn least: one fit costs as much as some twenty of the others, and with a few
    hundred images it seldom wins.
    """

    share: float
    ranges: dict[str, Range]


# Penalties are those of features that are scaled to mean square 1 / width, so that the same range
# serves any feature set: C = 1 of an SVM on plain standard scores is C = width here.
FAMILIES: dict[Classifier, Family] = {
    "svm-linear": Family(0.3, {"C": Range(1, 1e4)}),
    "svm-rbf": Family(0.3, {"C": Range(0.3, 300), "gamma": Range(0.05, 3)}),
    "logistic": Family(0.18, {"C": Range(1, 1e4)}),
    "lda": Family(0.18, {"components": Range(20, 250, whole=True), "shrinkage": Range(0.01, 0.9)}),
    "boosting": Family(
        0.04,
        {
            "components": Range(10, 40, whole=True),
            "iterations": Range(20, 60, whole=True),
            "learning_rate": Range(0.05, 0.3),
            "leaves": Range(4, 15, whole=True),
        },
    ),
}


@dataclass(frozen=True)
class Configuration:
    """One classifier with its parameters on one feature set; `number` counts them from 0."""

    number: int
    classifier: Classifier
    feature_set: str
    parameters: dict[str, float]

    def parameters_text(self) -> str:
        """The parameters as JSON."""
        return json.dumps(self.parameters, sort_keys=True)


def draw_configurations(settings: SearchSettings, seed: int) -> list[Configuration]:
    """Draw configurations (random search: Bergstra and Bengio, JMLR 13, 2012).

    Configuration k is the same however many are drawn.
    """
    shares = np.array([FAMILIES[name].share for name in settings.classifiers])
    found = []
    for number in range(settings.configurations):
        generator = np.random.default_rng([seed, number])
        chosen = generator.choice(len(shares), p=shares / shares.sum())
        classifier = settings.classifiers[int(chosen)]
        feature_set = settings.feature_sets[int(generator.integers(len(settings.feature_sets)))]
        ranges = FAMILIES[classifier].ranges
        parameters = {name: ranges[name].draw(generator) for name in ranges}
        found.append(Configuration(number, classifier, feature_set, parameters))
    return found
