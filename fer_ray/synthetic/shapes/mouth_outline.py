"""The lips as four curves between two corners."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_ray.synthetic.shapes.action_units import Expression
from fer_ray.synthetic.shapes.curves import SIDES, Points, smooth_step
from fer_ray.synthetic.shapes.subject import Subject

Curve = NDArray[np.float64]

# From the left corner (-1) to the right (1), denser towards the corners.
ALONG: Curve = -np.cos(np.linspace(0, np.pi, 41))


@dataclass(frozen=True)
class MouthShape:
    """Lips in mm; curves have one value per position in `ALONG` (41,)."""

    x: Curve
    upper_edge: Curve  # y of the border between upper lip and skin
    upper_inner: Curve  # y of the border between upper lip and lower lip or gap
    lower_inner: Curve
    lower_edge: Curve
    corners: dict[int, tuple[float, float]]  # by side: x, y
    opening: float  # height of the gap in its middle

    def point(self, along: float, line: Curve) -> tuple[float, float]:
        """The point x, y on a curve, from -1 (left corner) to 1 (right corner)."""
        return float(np.interp(along, ALONG, self.x)), float(np.interp(along, ALONG, line))

    def between(self, upper: Curve, lower: Curve) -> Points:
        """The closed polygon between two of the curves."""
        return np.vstack([np.stack([self.x, upper], 1), np.stack([self.x, lower], 1)[::-1]])


def jaw_drop(expression: Expression) -> float:
    """Distance in mm by which AU26 and AU27 lower the jaw."""
    return 6.0 * expression[26] + 22.0 * expression[27]


def shape_mouth(subject: Subject, expression: Expression) -> MouthShape:
    """The lips of a subject with an expression."""
    height = subject.mouth.height * subject.head.lower_length + 0.045 * subject.head.chin_drop
    corners = {side: _corner(subject, expression, side, height) for side in SIDES}
    middle, raised, lowered = _inner_lips(expression, height)
    upper_lip, lower_lip = _lip_heights(subject, expression)

    away = np.abs(ALONG)
    middle_x = 0.35 * (corners[-1][0] + corners[1][0]) / 2
    end_x = np.where(ALONG < 0, corners[-1][0], corners[1][0])
    end_y = np.where(ALONG < 0, corners[-1][1], corners[1][1])
    # A dropped jaw opens an oval, parted lips open a slit.
    oval = min(1.0, jaw_drop(expression) / 14)
    seam = middle + (end_y - middle) * away ** (1.7 + 0.5 * oval)
    gap = (1 - away ** (2.3 - 0.1 * oval)) ** (0.75 - 0.2 * oval)
    upper_inner, lower_inner = seam - raised * gap, seam + lowered * gap
    cupids_bow = (1 - away**1.55) * (1 - 0.17 * np.exp(-((ALONG / 0.13) ** 2)))
    return MouthShape(
        x=middle_x + (end_x - middle_x) * away,
        upper_edge=upper_inner - upper_lip * cupids_bow,
        upper_inner=upper_inner,
        lower_inner=lower_inner,
        lower_edge=lower_inner + lower_lip * (1 - away**2.2) ** 0.95,
        corners=corners,
        opening=raised + lowered,
    )


def _corner(
    subject: Subject, expression: Expression, side: int, height: float
) -> tuple[float, float]:
    unit, smile, dimple = expression, expression.smile(side), expression.on(side, 14)
    outward = 6.0 * smile + 5.2 * dimple + 6.5 * unit[20] + 0.6 * unit[15]
    inward = 1.2 * unit[17] + 1.5 * unit[23] + 2.0 * unit[24] + 0.5 * unit[26] + 8.4 * unit[27]
    down = 5.2 * unit[15] + 1.6 * unit[20] + 0.3 * unit[17] + 0.38 * jaw_drop(unit)
    up = 6.8 * smile + 5.2 * dimple + 0.8 * unit[9] + 0.6 * unit[10]
    x = side * (subject.mouth.half_width + outward - inward)
    return x, height + subject.mouth.corner_bias + down - up


def _inner_lips(unit: Expression, height: float) -> tuple[float, float, float]:
    """Y of the middle of the seam, and how far the upper lip rises and the lower lip falls."""
    smile = max(unit.smile(side) for side in SIDES)
    lift = 3.6 * unit[10] + 2.2 * unit[9] + 1.8 * smile * unit[25] + 1.2 * unit[25] * unit[20]
    # Closed lips move up together. Parted lips show the teeth.
    parted = smooth_step(unit[25] + unit[26] + unit[27], 0.04, 0.14)
    middle = height - 2.6 * unit[17] - 0.8 * unit[24] - 0.75 * lift * (1 - parted)
    gap = unit[25] * (4.2 + 2.5 * min(1.0, unit[12]))
    return middle, lift * parted, 0.7 * gap + 0.92 * jaw_drop(unit)


def _lip_heights(subject: Subject, unit: Expression) -> tuple[float, float]:
    smile = max(unit.smile(side) for side in SIDES)
    upper = 1 - 0.22 * smile - 0.44 * unit[23] - 0.38 * unit[24] - 0.15 * unit[20]
    lower = 1 - 0.18 * smile - 0.32 * unit[23] - 0.32 * unit[24] - 0.12 * (unit[20] - unit[17])
    return max(2.0, subject.mouth.upper_lip * upper), max(2.8, subject.mouth.lower_lip * lower)
