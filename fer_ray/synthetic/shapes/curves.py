"""Curves, polygons and bumps."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]  # (n, 2): x, y
Plane = NDArray[np.float32]  # (height, width)
Values = TypeVar("Values", float, NDArray[np.float64], Plane)

SIDES = (-1, 1)  # left and right half of the image


def catmull_rom(points: ArrayLike, per_segment: int = 8, closed: bool = False) -> Points:
    """A smooth curve through `points` (n, 2), with `per_segment` points per segment."""
    knots = np.asarray(points, dtype=float)
    if closed:
        padded = np.vstack([knots[-1], knots, knots[0], knots[1]])
    else:
        padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, per_segment, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    flat = curve.reshape(-1, 2)
    return flat if closed else np.vstack([flat, knots[-1]])


def smooth_step(values: Values, start: float, end: float) -> Values:
    """0 below `start`, 1 above `end`, and a smooth transition between; same type as `values`."""
    t: Any = np.clip((values - start) / (end - start), 0, 1)
    step: Values = t * t * (3 - 2 * t)
    return step


def bump(x: Plane, y: Plane, centre: Sequence[float], spread: Sequence[float]) -> Plane:
    """A Gaussian of height 1 around `centre` (x, y) with standard deviations `spread`."""
    return np.exp(-0.5 * (((x - centre[0]) / spread[0]) ** 2 + ((y - centre[1]) / spread[1]) ** 2))


def normals(path: Points) -> Points:
    """Unit normals (n, 2) of a polyline (n, 2)."""
    tangents = np.gradient(path, axis=0)
    rotated = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
    return np.asarray(rotated / (np.linalg.norm(rotated, axis=1, keepdims=True) + 1e-9))


def ribbon(path: Points, half_width: ArrayLike) -> Points:
    """The polygon within `half_width` of a polyline; one number, or one per point."""
    offset = normals(path) * np.broadcast_to(half_width, len(path))[:, None]
    return np.vstack([path + offset, (path - offset)[::-1]])


def resample(path: Points, count: int) -> Points:
    """`count` points evenly spaced along a polyline."""
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, path[:, axis]) for axis in (0, 1)], axis=1)


def shifted_down(path: Points, by: float) -> Points:
    """A path moved down by `by` mm."""
    moved: Points = path + np.array([0.0, by])
    return moved


def mirrored(right_half: Points) -> Points:
    """A closed outline from its right half, which runs from top to bottom."""
    return np.vstack([right_half, (right_half * [-1, 1])[::-1]])
