"""The configurations of a nested search: classifiers with randomly sampled parameters."""

import json
from dataclasses import dataclass

import numpy as np

from fer_ray.networks.heads.head_space import Options, Range
from fer_ray.settings.feature_sets import can_mirror, sets_of
from fer_ray.settings.training import Classifier, SearchSettings

INTEGER_PARAMETERS = {"components", "iterations", "leaves"}
SWITCH = Options((0, 1))


@dataclass(frozen=True)
class Family:
    """A classifier with the distributions of its parameters.

    Attributes:
        share: Relative frequency among the sampled configurations. Boosting has the lowest: one fit
            costs as much as about twenty of the others, and with a few hundred images it seldom
            wins.
        ranges: The distribution of each parameter.
    """

    share: float
    ranges: dict[str, Range | Options]


def _log_range(low: float, high: float) -> Range:
    return Range(low, high, log=True)


# Penalties are for features that are scaled to mean square 1 / width, so that one range serves any
# feature set: C = 1 of an SVM on plain standard scores is C = width here.
FAMILIES: dict[Classifier, Family] = {
    "svm-linear": Family(0.3, {"C": _log_range(0.3, 1e4), "balanced": SWITCH, "mirror": SWITCH}),
    "svm-rbf": Family(
        0.3,
        {
            "C": _log_range(0.3, 300),
            "gamma": _log_range(0.05, 3),
            "balanced": SWITCH,
            "mirror": SWITCH,
        },
    ),
    "logistic": Family(0.18, {"C": _log_range(1, 1e4), "balanced": SWITCH, "mirror": SWITCH}),
    "lda": Family(
        0.18,
        {
            "components": _log_range(20, 250),
            "shrinkage": _log_range(0.01, 0.9),
            "mirror": SWITCH,
        },
    ),
    "boosting": Family(
        0.04,
        {
            "components": _log_range(10, 40),
            "iterations": _log_range(20, 60),
            "learning_rate": _log_range(0.05, 0.3),
            "leaves": _log_range(4, 15),
        },
    ),
}


@dataclass(frozen=True)
class Configuration:
    """One classifier with its parameters on one feature set.

    Attributes:
        number: Position in the search, from 0.
        classifier: Name in `FAMILIES`.
        feature_set: Name of a feature set or union.
        parameters: Value of each parameter. `balanced` (class weights) and `mirror` (mirrored
            copies of training images) are 0 or 1.
        set_weights: Weight of each set of a union. Empty: all have the same.
    """

    number: int
    classifier: Classifier
    feature_set: str
    parameters: dict[str, float]
    set_weights: tuple[float, ...] = ()

    @property
    def mirrors(self) -> bool:
        """Whether it is also fitted to the mirrored training images."""
        return bool(self.parameters.get("mirror"))

    def parameters_json(self) -> str:
        """Return the parameters as JSON, with `set_weights` unless all are the same."""
        weights = {"set_weights": self.set_weights} if self.set_weights else {}
        return json.dumps({**self.parameters, **weights}, sort_keys=True)


def sample_configurations(settings: SearchSettings, seed: int) -> list[Configuration]:
    """Sample configurations at random (random search: Bergstra and Bengio, JMLR 13, 2012).

    Configuration k does not depend on how many are sampled.
    """
    shares = np.array([FAMILIES[name].share for name in settings.classifiers])
    configurations = []
    for number in range(settings.configurations):
        generator = np.random.default_rng([seed, number])
        index = generator.choice(len(shares), p=shares / shares.sum())
        classifier = settings.classifiers[int(index)]
        feature_set = settings.feature_sets[int(generator.integers(len(settings.feature_sets)))]
        parameters = {
            name: _sample_parameter(name, values, generator)
            for name, values in FAMILIES[classifier].ranges.items()
        }
        if not can_mirror(feature_set):
            parameters.pop("mirror", None)
        weights = _sample_weights(classifier, feature_set, settings.set_weights, generator)
        configurations.append(Configuration(number, classifier, feature_set, parameters, weights))
    return configurations


def _sample_weights(
    classifier: Classifier,
    feature_set: str,
    values: tuple[float, ...],
    generator: np.random.Generator,
) -> tuple[float, ...]:
    """A weight for each set of a union; none if all are the same.

    Only of SVMs, which need nothing but the inner products of the union. Principal components would
    have to be computed again for all weights.
    """
    if not classifier.startswith("svm-"):
        return ()
    drawn = generator.choice(values, size=len(sets_of(feature_set)))
    weights = tuple(float(weight) for weight in drawn)
    return weights if len(set(weights)) > 1 else ()


def _sample_parameter(name: str, values: Range | Options, generator: np.random.Generator) -> float:
    value = values.sample(generator)
    return round(value) if name in INTEGER_PARAMETERS else value
