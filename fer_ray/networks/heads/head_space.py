"""The search space of heads: one line per setting."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_ray.settings.networks import HeadSearchSettings, HeadSettings

Configuration = dict[str, Any]  # fields of HeadSettings


@dataclass(frozen=True)
class Range:
    """A uniform or log-uniform distribution from `low` to `high`."""

    low: float
    high: float
    log: bool = False

    def sample(self, generator: np.random.Generator) -> float:
        """One value."""
        if self.log:
            return float(np.exp(generator.uniform(np.log(self.low), np.log(self.high))))
        return float(generator.uniform(self.low, self.high))


@dataclass(frozen=True)
class Options:
    """A uniform distribution over given values."""

    values: tuple[Any, ...]

    def sample(self, generator: np.random.Generator) -> Any:
        """One value."""
        return self.values[int(generator.integers(len(self.values)))]


def search_space(settings: HeadSearchSettings) -> dict[str, Range | Options]:
    """Distributions of the settings that are searched; others are those of the reference head."""
    most = settings.max_epochs
    return {
        "epochs": Options(tuple(sorted({max(1, most // 4), max(1, most // 2), most}))),
        "batch_size": Options((8, 16, 32, 64)),
        "learning_rate": Range(1e-4, 3e-2, log=True),
        "optimizer": Options(("adam", "sgd", "rmsprop")),
        "dropout": Range(0, 0.6),
        "hidden": Options((0, 64, 256)),
        "weight_decay": Range(1e-6, 1e-2, log=True),
        "label_smoothing": Range(0, 0.2),
        "class_weights": Options(("none", "balanced")),
        "standardise": Options((False, True)),
        "draws": Options((settings.draws,)),
    }


def sample_configuration(settings: HeadSearchSettings, seed: int, number: int) -> Configuration:
    """Configuration `number` of a random search; it does not depend on how many are sampled."""
    generator = np.random.default_rng([seed, number])
    return {name: values.sample(generator) for name, values in search_space(settings).items()}


def optuna_distributions(settings: HeadSearchSettings) -> dict[str, Any]:
    """The search space as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        name: FloatDistribution(values.low, values.high, log=values.log)
        if isinstance(values, Range)
        else CategoricalDistribution(values.values)
        for name, values in search_space(settings).items()
    }


def head_settings(configuration: Configuration) -> HeadSettings:
    """The settings of the head that a configuration describes; its probabilities are calibrated."""
    return HeadSettings.model_validate({**configuration, "calibrate": True})
