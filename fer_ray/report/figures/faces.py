"""Faces and their landmarks: crops made again from the source, and how they are drawn."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from fer_ray.faces.crops import cut_again
from fer_ray.report.figures.counts import probabilities
from fer_ray.report.figures.picture import bare_axes, canvas
from fer_ray.report.theme import Theme
from fer_ray.settings.extraction import Decode
from fer_ray.vocabulary import N_LANDMARKS

Gray = NDArray[np.uint8]
LandmarksXY = NDArray[np.float64]
Row = dict[str, Any]  # of frames or of predictions, by column

# The strokes of the 68-point scheme, first and last point, and whether the stroke closes.
STROKES = (
    (0, 16, False),  # jaw
    (17, 21, False),  # brows
    (22, 26, False),
    (27, 30, False),  # bridge of the nose
    (31, 35, False),  # its base
    (36, 41, True),  # eyes
    (42, 47, True),
    (48, 59, True),  # outer and inner lips
    (60, 67, True),
)


@dataclass(frozen=True)
class FaceSource:
    """Where crops may be made again from, and whether they may be shown at all."""

    root: Path | None
    allowed: bool
    size_px: int

    def crop(self, frame: Row) -> Gray | None:
        """The face of a frames row, (size_px, size_px) uint8.

        None if faces may not be shown, or the source image is gone or has changed since.
        """
        if not self.allowed or self.root is None:
            return None
        try:
            return cut_again(frame, self.root, Decode(), self.size_px)
        except ValueError:
            return None


def landmarks_xy(frame: Row) -> LandmarksXY:
    """Landmarks of a frames row, (68, 2), crop pixels."""
    return np.asarray(frame["landmarks_xy"], dtype=float).reshape(N_LANDMARKS, 2)


def thumbnail(face: Gray, side_px: int) -> bytes:
    """A face as PNG bytes, side_px wide."""
    packed = BytesIO()
    small = Image.fromarray(face).resize((side_px, side_px), Image.Resampling.LANCZOS)
    small.quantize(64).save(packed, format="PNG", optimize=True)
    return packed.getvalue()


def stroke_points(xy: LandmarksXY) -> list[str]:
    """SVG `points` of each stroke, scaled into a square of 100 units."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    scale = 90 / max(float((high - low).max()), 1.0)
    centred = (xy - (low + high) / 2) * scale + 50
    return [" ".join(f"{x:.1f},{y:.1f}" for x, y in line) for line in _strokes(centred)]


def landmarks_figure(xy: LandmarksXY, face: Gray | None, theme: Theme) -> Figure:
    """The 68 landmarks, on the face where there is one."""
    figure = canvas(theme, 4.0)
    _draw_landmarks(figure.subplots(), xy, face, theme)
    return figure


def misclassified_figure(xy: LandmarksXY, face: Gray | None, answer: Row, theme: Theme) -> Figure:
    """One wrongly answered image (its landmarks if no face) beside its class probabilities."""
    figure = canvas(theme, 2.4)
    left, right = figure.subplots(1, 2, width_ratios=[1.0, 0.8])
    if face is None:
        _draw_landmarks(left, xy, None, theme, size=1.2)
    else:
        bare_axes(left, theme).imshow(face, cmap="gray", vmin=0, vmax=255)
        left.set(xticks=[], yticks=[])
    probabilities(right, answer["probabilities"], answer["label"], answer["predicted"], theme)
    return figure


def _strokes(xy: LandmarksXY) -> list[LandmarksXY]:
    lines = [(xy[first : last + 1], closed) for first, last, closed in STROKES]
    return [np.vstack([line, line[:1]]) if closed else line for line, closed in lines]


def _draw_landmarks(
    axes: Axes, xy: LandmarksXY, face: Gray | None, theme: Theme, size: float = 2.6
) -> None:
    bare_axes(axes, theme).set(xticks=[], yticks=[])
    colour = theme.accent
    if face is not None:
        axes.imshow(face, cmap="gray", vmin=0, vmax=255)
        colour = "#ffd23f"  # seen on light and on dark skin
    for line in _strokes(xy):
        axes.plot(*line.T, color=colour, linewidth=size / 3, alpha=0.6)
    axes.plot(*xy[1:].T, "o", color=colour, markersize=size, markeredgewidth=0)
    axes.plot(*xy[:1].T, "o", markersize=size + 1, markerfacecolor="none", markeredgecolor=colour)
    if face is None:
        axes.margins(0.06)
        axes.set_aspect("equal")
        axes.invert_yaxis()
