"""Outline, brows, eyes, nose and mouth as curves in mm, and the 68 landmarks on them.

Displacements are in mm at intensity 1 of an action unit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_ray.synthetic.shapes.action_units import Expression
from fer_ray.synthetic.shapes.curves import SIDES, Points, catmull_rom, mirrored, smooth_step
from fer_ray.synthetic.shapes.mouth_outline import MouthShape, jaw_drop, shape_mouth
from fer_ray.synthetic.shapes.subject import Subject

SKULL_TOP = -104.0  # y
SKULL_CENTRE = -6.0  # y at which the head is widest

# Right half of the mean face's jaw from the temple to the chin: landmarks 16 down to 8.
MEAN_JAW: Points = np.array(
    [
        (70, -6),
        (70.5, 13),
        (68.5, 31.5),
        (64.5, 50),
        (57.5, 67.5),
        (46.5, 83.5),
        (32.5, 96),
        (16.5, 103.5),
        (0, 106),
    ],
    dtype=float,
)
LID_POSITIONS = np.linspace(0, 1, 25)  # along a lid, from the inner to the outer corner


@dataclass(frozen=True)
class EyeShape:
    """One eye; curves have one value per position in `LID_POSITIONS` (25,)."""

    x: NDArray[np.float64]
    upper: NDArray[np.float64]  # y of the upper lid
    lower: NDArray[np.float64]
    centre: tuple[float, float]  # of the iris

    def point(self, along: float, lid: NDArray[np.float64]) -> tuple[float, float]:
        """The point x, y on a lid, from 0 (inner corner) to 1 (outer corner)."""
        x = np.interp(along, LID_POSITIONS, self.x)
        return float(x), float(np.interp(along, LID_POSITIONS, lid))

    def outline(self) -> Points:
        """The opening between the lids as a closed polygon."""
        upper, lower = np.stack([self.x, self.upper], 1), np.stack([self.x, self.lower], 1)
        return np.vstack([upper, lower[::-1]])


@dataclass(frozen=True)
class NoseShape:
    """Nose, mm."""

    tip_y: float
    base_y: float  # at the upper lip
    wing_x: float  # half-width at the wings
    wing_y: float
    lift: float  # of the wings, by AU9 and AU10


@dataclass(frozen=True)
class FaceShape:
    """All curves of a face."""

    jaw: Points  # (9, 2), right half, from the temple to the chin
    brows: dict[int, Points]  # by side: (5, 2), from the outer to the inner end
    eyes: dict[int, EyeShape]
    nose: NoseShape
    mouth: MouthShape
    jaw_drop: float

    @property
    def half_width(self) -> float:
        """Half-width of the head at the temples."""
        return float(self.jaw[0, 0])

    @property
    def chin_y(self) -> float:
        """Y of the lowest point of the chin."""
        return float(self.jaw[-1, 1])

    def silhouette(self) -> Points:
        """Outline of the head from crown to chin, right half, y ascending."""
        y = np.linspace(SKULL_TOP, SKULL_CENTRE, 30)[:-1]
        share = np.abs(y - SKULL_CENTRE) / (SKULL_CENTRE - SKULL_TOP)
        x = self.half_width * np.sqrt(np.clip(1 - share**2.3, 0, 1))
        return np.vstack([np.stack([x, y], 1), catmull_rom(self.jaw)])

    def outline(self) -> Points:
        """Outline of the head as a closed polygon."""
        return mirrored(self.silhouette())

    def landmarks(self) -> Points:
        """The 68 landmarks (68, 2) in mm, in the order of iBUG 300-W."""
        jaw = np.vstack([self.jaw * [-1, 1], self.jaw[:-1][::-1]])
        brows = np.vstack([self.brows[-1], self.brows[1][::-1]])
        return np.vstack(
            [jaw, brows, _nose_points(self.nose), _eye_points(self.eyes), _lip_points(self.mouth)]
        )


def shape_face(subject: Subject, expression: Expression) -> FaceShape:
    """The face of a subject with an expression."""
    return FaceShape(
        jaw=_shape_jaw(subject, expression),
        brows={side: shape_brow(subject, expression, side) for side in SIDES},
        eyes={side: _shape_eye(subject, expression, side) for side in SIDES},
        nose=_shape_nose(subject, expression),
        mouth=shape_mouth(subject, expression),
        jaw_drop=jaw_drop(expression),
    )


def _shape_jaw(subject: Subject, unit: Expression) -> Points:
    head, drop = subject.head, jaw_drop(unit)
    x, y = MEAN_JAW.T.copy()
    x *= head.width * (1 + (head.jaw_width - 1) * smooth_step(y, 20, 90))
    y = np.where(y > 0, y * head.lower_length, y) + head.chin_drop * smooth_step(y, 56, 106)
    x[6:8] += head.chin_square
    y += drop * smooth_step(y, 30, 102) - 1.5 * unit[17] * smooth_step(y, 84, 106)
    x *= 1 - 0.0022 * drop * smooth_step(y, 40, 110)
    return np.stack([x, y], axis=1)


def shape_brow(subject: Subject, unit: Expression, side: int) -> Points:
    """One brow (5, 2), from its outer to its inner end."""
    brows = subject.brows
    inner, outer = np.array([0, 0.05, 0.3, 0.8, 1]), np.array([1, 1, 0.75, 0.25, 0])
    outer_x = 53 * brows.length
    x = outer_x + (12.5 - outer_x) * np.linspace(0, 1, 5)
    y = brows.height + 2.2 - brows.arch * np.array([-0.9, 0.72, 1, 0.72, 0])
    y += brows.tilt * np.linspace(-1, 1, 5)
    y -= unit[1] * (9.0 * inner + 1.2) + unit[2] * 9.0 * outer
    y += unit[4] * (1 - 0.55 * min(1, unit[1])) * (3.0 + 1.6 * inner)
    y += unit[9] * (1.0 + 2.4 * inner) + 0.6 * unit[6] + 0.8 * unit[7]
    x -= (3.2 * unit[4] + unit[9]) * np.array([0.1, 0.3, 0.6, 0.9, 1])
    return np.stack([side * x, y], axis=1)


def _shape_eye(subject: Subject, unit: Expression, side: int) -> EyeShape:
    eyes, along = subject.eyes, LID_POSITIONS
    upper = eyes.upper_aperture + 3.2 * unit[5] - 2.6 * unit[7] - unit[6] - 1.3 * unit[9]
    upper -= 0.9 * unit[4] * (1 - min(1, 2 * unit[5])) + 0.5 * unit[15]
    lower = eyes.lower_aperture - 1.6 * unit[7] - 1.9 * unit[6] - 1.2 * unit[9]
    lower += 0.3 * unit[5] - 0.5 * unit.smile(side)
    corner_line = 1.2 + eyes.tilt * along
    upper_arc, lower_arc = np.sin(np.pi * along**0.88) ** 0.8, np.sin(np.pi * along**1.12) ** 0.85
    centre_x = eyes.pupil_distance / 2
    return EyeShape(
        x=side * (centre_x + eyes.width * (along - 0.5)),
        upper=corner_line - max(upper, 1.4) * upper_arc - 0.64 * unit[1] * (1 - along),
        lower=corner_line + max(lower, 0.9) * lower_arc,
        centre=(side * centre_x, 0.6 + eyes.tilt / 2),
    )


def _shape_nose(subject: Subject, unit: Expression) -> NoseShape:
    base = subject.nose.length * subject.head.lower_length
    lift = 2.6 * unit[9] + 0.8 * unit[10]
    flare = 1 + 0.07 * unit.smile(1) + 0.07 * unit[9] + 0.03 * unit[20]
    return NoseShape(
        tip_y=base - 9.5 - 0.8 * unit[9],
        base_y=base + 0.4 - 0.8 * unit[9],
        wing_x=subject.nose.half_width * flare,
        wing_y=base - 4.5 - lift,
        lift=lift,
    )


def _nose_points(nose: NoseShape) -> Points:
    ridge = [(0, nose.tip_y * share) for share in (0, 0.36, 0.69, 1)]
    low = nose.base_y - 0.4
    half = [(0.8, low - 2.8 - 0.8 * nose.lift), (0.4, low - 0.6 - 0.5 * nose.lift)]
    left = [(-share * nose.wing_x, y) for share, y in half]
    right = [(share * nose.wing_x, y) for share, y in half[::-1]]
    return np.array([*ridge, *left, (0, nose.base_y + 0.2), *right])


def _eye_points(eyes: dict[int, EyeShape]) -> Points:
    left, right = eyes[-1], eyes[1]
    points = [left.point(along, left.upper) for along in (1, 0.68, 0.34, 0)]
    points += [left.point(along, left.lower) for along in (0.34, 0.68)]
    points += [right.point(along, right.upper) for along in (0, 0.34, 0.68, 1)]
    points += [right.point(along, right.lower) for along in (0.68, 0.34)]
    return np.array(points)


def _lip_points(mouth: MouthShape) -> Points:
    seam = (mouth.upper_inner + mouth.lower_inner) / 2
    points = [mouth.corners[-1]]
    points += [mouth.point(at, mouth.upper_edge) for at in (-0.6, -0.24, 0, 0.24, 0.6)]
    points += [mouth.corners[1]]
    points += [mouth.point(at, mouth.lower_edge) for at in (0.6, 0.28, 0, -0.28, -0.6)]
    points += [mouth.point(-0.85, seam)]
    points += [mouth.point(at, mouth.upper_inner) for at in (-0.26, 0, 0.26)]
    points += [mouth.point(0.85, seam)]
    points += [mouth.point(at, mouth.lower_inner) for at in (0.26, 0, -0.26)]
    return np.array(points)
