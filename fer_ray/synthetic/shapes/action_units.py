"""Expressions as intensities of FACS action units.

Prototypes follow EMFACS (Friesen and Ekman, 1983) and the table of CK+ (Lucey et al., CVPR 2010
workshops). An intensity of 1 is the maximum of a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Unit(NamedTuple):
    """One action unit of a prototype."""

    number: int
    intensity: float
    presence: float = 1.0  # probability that the unit occurs
    one_sided: bool = False


# In the order of the CK+ codes: neutral is 0, surprise is 7.
PROTOTYPES: Mapping[str, tuple[Unit, ...]] = {
    "neutral": (),
    "anger": (
        Unit(4, 0.95),
        Unit(5, 0.35, 0.7),
        Unit(7, 0.8, 0.95),
        Unit(15, 0.2, 0.3),
        Unit(17, 0.6, 0.8),
        Unit(23, 0.8),
        Unit(24, 0.8, 0.9),
    ),
    "contempt": (
        Unit(7, 0.1, 0.3),
        Unit(12, 0.45, 0.6, one_sided=True),
        Unit(14, 0.95, one_sided=True),
    ),
    "disgust": (
        Unit(4, 0.45, 0.8),
        Unit(6, 0.3, 0.5),
        Unit(7, 0.65, 0.9),
        Unit(9, 0.95),
        Unit(10, 0.7, 0.85),
        Unit(17, 0.5, 0.6),
        Unit(25, 0.35, 0.4),
    ),
    "fear": (
        Unit(1, 0.9),
        Unit(2, 0.45, 0.9),
        Unit(4, 0.5, 0.95),
        Unit(5, 0.8, 0.95),
        Unit(20, 0.9),
        Unit(25, 0.75),
        Unit(26, 0.3, 0.6),
    ),
    "happy": (Unit(6, 0.8), Unit(12, 0.95), Unit(25, 0.7, 0.9), Unit(26, 0.15, 0.3)),
    "sadness": (
        Unit(1, 0.85),
        Unit(4, 0.5, 0.95),
        Unit(7, 0.15, 0.3),
        Unit(15, 0.95),
        Unit(17, 0.7, 0.9),
    ),
    "surprise": (
        Unit(1, 0.9),
        Unit(2, 0.95),
        Unit(5, 0.7, 0.95),
        Unit(26, 0.5),
        Unit(27, 0.85, 0.9),
    ),
}

# Units that are never perfectly still: they get a little noise in every expression.
RESTLESS_UNITS = (1, 2, 4, 5, 7, 12, 15, 17, 25)
MAX_INTENSITY = 1.15


@dataclass(frozen=True)
class Expression:
    """Intensities of action units on both sides of a face; all other units are at rest."""

    both: Mapping[int, float] = field(default_factory=dict)
    one_sided: Mapping[int, float] = field(default_factory=dict)
    side: int = 1  # of the one-sided units: -1 left, 1 right in the image
    asymmetry: float = 0.0  # by how much AU12 is stronger on the right

    def __getitem__(self, unit: int) -> float:
        """Intensity of a unit that acts on both sides."""
        return self.both.get(unit, 0.0)

    def on(self, side: int, unit: int) -> float:
        """Intensity of a unit on one side of the face, including one-sided action."""
        extra = self.one_sided.get(unit, 0.0) if side == self.side else 0.0
        return self[unit] + extra

    def smile(self, side: int) -> float:
        """Intensity of AU12 (zygomaticus major) on one side, including asymmetry."""
        return self.on(side, 12) * (1 + side * self.asymmetry)

    def scaled(self, share: float) -> "Expression":
        """The expression at a `share` of its intensity, from 0 (rest) to 1 (peak)."""
        return Expression(
            {unit: value * share for unit, value in self.both.items()},
            {unit: value * share for unit, value in self.one_sided.items()},
            self.side,
            self.asymmetry,
        )


def sample_expression(
    units: tuple[Unit, ...], expressiveness: float, rng: np.random.Generator
) -> Expression:
    """Sample an expression from a prototype: units may be absent, intensities vary by 15%.

    Args:
        units: Units of the prototype; none for a face at rest, which is never perfectly still.
        expressiveness: Factor on the intensities of a subject.
        rng: Source of the variation.
    """
    both: dict[int, float] = {}
    one_sided: dict[int, float] = {}
    for unit in units:
        intensity = unit.intensity * expressiveness * rng.uniform(0.85, 1.15)
        if rng.random() < unit.presence:
            target = one_sided if unit.one_sided else both
            target[unit.number] = min(intensity, MAX_INTENSITY)
    for number in RESTLESS_UNITS:
        both[number] = max(0.0, both.get(number, 0.0) + rng.normal(0, 0.02))
    return Expression(both, one_sided, int(rng.choice((-1, 1))), rng.normal(0, 0.05))
