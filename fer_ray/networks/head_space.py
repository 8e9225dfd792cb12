"""What a search of heads chooses from: one line a setting."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_ray.settings.networks import HeadSearchSettings, HeadSettings

Configuration = dict[str, Any]  # fields of HeadSettings


@dataclass(frozen=True)
class Range:
    """Where a number is drawn from, evenly, or evenly in its logarithm."""

    low: float
    high: float
    log: bool = False

    def draw(self, generator: np.random.Generator) -> float:
        """One value."""
        if self.log:
            return float(np.exp(generator.uniform(np.log(self.low), np.log(self.high))))
        return float(generator.uniform(self.low, self.high))


@dataclass(frozen=True)
class Choice:
    """Values that are drawn alike."""

    values: tuple[Any, ...]

    def draw(self, generator: np.random.Generator) -> Any:
        """One of them."""
        return self.values[int(generator.integers(len(self.values)))]


def space(settings: HeadSearchSettings) -> dict[str, Range | Choice]:
    """The settings that are searched; the others are the reference head's."""
    most = settings.most_epochs
    return {
        "epochs": Choice(tuple(sorted({max(1, most // 4), max(1, most // 2), most}))),
        "batch_size": Choice((8, 16, 32, 64)),
        "learning_rate": Range(1e-4, 3e-2, log=True),
        "optimizer": Choice(("adam", "sgd", "rmsprop")),
        "dropout": Range(0, 0.6),
        "hidden": Choice((0, 64, 256)),
        "weight_decay": Range(1e-6, 1e-2, log=True),
        "label_smoothing": Range(0, 0.2),
        "class_weights": Choice(("none", "balanced")),
        "standardise": Choice((False, True)),
        "draws": Choice((settings.draws,)),
    }


def draw_configuration(settings: HeadSearchSettings, seed: int, number: int) -> Configuration:
    """Configuration `number` of a random search: the same however many are drawn."""
    generator = np.random.default_rng([seed, number])
    return {name: where.draw(generator) for name, where in space(settings).items()}


def distributions(settings: HeadSearchSettings) -> dict[str, Any]:
    """The same space, as Optuna knows it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        name: FloatDistribution(where.low, where.high, log=where.log)
        if isinstance(where, Range)
        else CategoricalDistribution(where.values)
        for name, where in space(settings).items()
    }


def head_settings(configuration: Configuration) -> HeadSettings:
    """The head that a configuration describes."""
    return HeadSettings.model_validate(configuration)
