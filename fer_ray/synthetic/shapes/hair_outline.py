"""Outlines of the hair: the hairline of a style, and its extent around the head."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fer_ray.synthetic.shapes.curves import Points, catmull_rom, resample
from fer_ray.synthetic.shapes.face_outline import SKULL_TOP
from fer_ray.synthetic.shapes.subject import Hair

DOME_CENTRE = -14.0  # y where the hair is widest
CURVE_POINTS = 60


class Cut(NamedTuple):
    """Proportions of a style."""

    side: float  # extent next to the head, as a share of the hair's volume
    top: float  # extent above the head, as a share of the same
    length: float | None  # y of the tips of long hair; None for short hair
    combed: str  # "back" from the forehead, "down" from the parting, or "curled"


CUTS = {
    "cropped": Cut(0.30, 0.55, None, "back"),
    "buzz": Cut(0.08, 0.18, None, "back"),
    "receding": Cut(0.25, 0.15, None, "back"),
    "side_part": Cut(0.35, 0.80, None, "down"),
    "swept": Cut(0.25, 1.25, None, "back"),
    "curly": Cut(0.85, 1.20, None, "curled"),
    "tied_back": Cut(0.15, 0.35, None, "back"),
    "bob": Cut(0.85, 0.80, 84, "down"),
    "long": Cut(0.80, 0.80, 230, "down"),
    "long_fringe": Cut(0.75, 0.90, 150, "back"),
}


class HairShape(NamedTuple):
    """Front hair between two curves from left to right, (CURVE_POINTS, 2) mm each."""

    hairline: Points
    crown: Points

    def outline(self) -> Points:
        """The front hair as a closed polygon."""
        return np.vstack([self.hairline, self.crown[::-1]])


def shape_front_hair(hair: Hair, half: float) -> HairShape:
    """The front hair of a style, on a head with half-width `half` (mm)."""
    cut = CUTS[hair.style]
    side, top = cut.side * hair.volume, cut.top * hair.volume
    ends = _side_ends(half, side, cut.length is not None)
    dome = _dome(half + side, DOME_CENTRE - SKULL_TOP + top, hair.style == "curly")
    crown = np.vstack([ends * [-1, 1], dome, ends[::-1]])
    edge = catmull_rom(_hairline(hair.style, half, hair.hairline, hair.parting))
    return HairShape(resample(edge, CURVE_POINTS), resample(crown, CURVE_POINTS))


def shape_side_hair(hair: Hair, half: float, side: int) -> HairShape:
    """Long hair on one side, between an inner and an outer curve from the temple to the tips."""
    cut = CUTS[hair.style]
    tip = float(cut.length or 0) + 1.2 * (hair.hairline + 66)
    out = half + cut.side * hair.volume
    sway = 0.12 * hair.parting
    inner = [(half - 8, -14), (half - 6, 25), (half * 0.86, 60), (half * 0.74, tip - 4)]
    outer = [(out, -14), (out + 4, 25), (out + 5 + sway, 60), (out + sway, tip - 8)]
    if tip < 120:  # the tips of a bob turn inwards
        outer[-1] = (out - 6, tip)
    scale = np.array([side, 1.0])
    return HairShape(
        resample(catmull_rom(inner) * scale, CURVE_POINTS),
        resample(catmull_rom(outer) * scale, CURVE_POINTS),
    )


def _dome(half_width: float, height: float, lumpy: bool) -> Points:
    angle = np.linspace(np.pi, 2 * np.pi, 49)
    cos, sin = np.cos(angle), np.sin(angle)
    radius = (np.abs(cos) ** 2.3 + np.abs(sin) ** 2.3) ** (-1 / 2.3)
    if lumpy:
        radius = radius * (1 + 0.025 * np.sin(11 * angle) + 0.018 * np.sin(19 * angle + 1))
    x, y = half_width * radius * cos, DOME_CENTRE + height * radius * sin
    return np.stack([x, y], axis=1)


def _side_ends(half: float, side: float, long: bool) -> Points:
    """Right end of the crown from its lowest point up to the dome; sideburns taper off."""
    if long:
        return np.array([(half + side, 70), (half + side, 20)])
    return np.array([(half + 0.5, 8), (half + 0.35 * side, -3)])


def _hairline(
    style: str, half: float, height: float, parting: float
) -> Sequence[tuple[float, float]]:
    if style in ("bob", "long"):
        return _curtain(half, height, parting)
    if style == "long_fringe":
        fringe = max(height + 12, -58)
        right = [(half * 0.52, fringe + 1), (half - 16, fringe + 8), (half - 7, -22)]
        right += [(half - 4, 8), (half - 2, 52), (half + 5, 70)]
        return [*_mirror(right), (0, fringe - 1), *right]
    burns = [(half - 8, -34), (half - 4.5, -12), (half - 0.5, 8)]
    if style == "receding":
        right = [(20, height - 8), (half - 34, height - 23), (half - 15, height - 8), *burns]
        return [*_mirror(right), (0, height - 4), *right]
    if style == "side_part":
        return [
            *_mirror([(half - 15, height + 10), *burns]),
            (parting - 9, height - 7),
            (parting + 14, height + 3),
            (half - 15, height + 10),
            *burns,
        ]
    right = [(22, height - 2), (half - 20, height + 5), *burns]
    return [*_mirror(right), (0, height - 3), *right]


def _curtain(half: float, height: float, parting: float) -> list[tuple[float, float]]:
    sides = [(half - 24, height + 3), (half - 12, -35), (half - 7, 5), (half - 3, 50)]
    sides += [(half + 5, 70)]
    return [*_mirror(sides), (parting, height - 11), *sides]


def _mirror(right: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(-x, y) for x, y in reversed(right)]
