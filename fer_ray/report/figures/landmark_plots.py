"""Figures of faces and landmarks, from crops that are recomputed from the source images."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from fer_ray.faces.crops import recrop
from fer_ray.report.figures.class_charts import draw_probabilities
from fer_ray.report.figures.themed_picture import new_figure, style_axes
from fer_ray.report.theme import Theme
from fer_ray.settings.extraction import Decode
from fer_ray.vocabulary import N_LANDMARKS

Gray = NDArray[np.uint8]
LandmarksXY = NDArray[np.float64]
Row = dict[str, Any]  # a row of frames or of predictions, by column

ON_FACE = "#ffd23f"  # visible on light and on dark skin

# Strokes of the 68-point scheme: first point, last point, whether the stroke is closed.
STROKES = (
    (0, 16, False),  # jaw
    (17, 21, False),  # brows
    (22, 26, False),
    (27, 30, False),  # bridge of the nose
    (31, 35, False),  # base of the nose
    (36, 41, True),  # eyes
    (42, 47, True),
    (48, 59, True),  # outer and inner lips
    (60, 67, True),
)


@dataclass(frozen=True)
class FaceSource:
    """The source of face crops.

    Attributes:
        root: Folder of the source images; None if it is gone.
        allowed: Whether faces may be shown.
        size_px: Side of the square crops.
    """

    root: Path | None
    allowed: bool
    size_px: int

    def crop(self, frame: Row) -> Gray | None:
        """Recompute the face crop of a row of frames, (size_px, size_px) uint8.

        Returns:
            None if faces may not be shown, or if the source image is gone or has changed.
        """
        if not self.allowed or self.root is None:
            return None
        try:
            return recrop(frame, self.root, Decode(), self.size_px)
        except ValueError:
            return None


def landmarks_xy(frame: Row) -> LandmarksXY:
    """Landmarks of a row of frames, (68, 2), in crop pixels."""
    return np.asarray(frame["landmarks_xy"], dtype=float).reshape(N_LANDMARKS, 2)


def thumbnail(face: Gray, side_px: int) -> bytes:
    """Resize a face to a PNG of `side_px` by `side_px` pixels."""
    packed = BytesIO()
    small = Image.fromarray(face).resize((side_px, side_px), Image.Resampling.LANCZOS)
    small.quantize(64).save(packed, format="PNG", optimize=True)
    return packed.getvalue()


def stroke_points(xy: LandmarksXY) -> list[str]:
    """The SVG `points` of each stroke, scaled to a square of 100 units."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    scale = 90 / max(float((high - low).max()), 1.0)
    centred = (xy - (low + high) / 2) * scale + 50
    return [" ".join(f"{x:.1f},{y:.1f}" for x, y in line) for line in face_strokes(centred)]


def landmarks_figure(xy: LandmarksXY, face: Gray | None, theme: Theme) -> Figure:
    """Draw the 68 landmarks, on the face if there is one."""
    figure = new_figure(theme, 4.0)
    _draw_landmarks(figure.subplots(), xy, face, theme)
    return figure


def misclassified_figure(
    xy: LandmarksXY, face: Gray | None, prediction: Row, theme: Theme
) -> Figure:
    """Draw a misclassified face, or its landmarks, next to its class probabilities."""
    figure = new_figure(theme, 2.4)
    left, right = figure.subplots(1, 2, width_ratios=[1.0, 0.8])
    if face is None:
        _draw_landmarks(left, xy, None, theme, size=1.2)
    else:
        style_axes(left, theme).imshow(face, cmap="gray", vmin=0, vmax=255)
        left.set(xticks=[], yticks=[])
    draw_probabilities(
        right, prediction["probabilities"], prediction["label"], prediction["predicted"], theme
    )
    return figure


def face_strokes(xy: LandmarksXY) -> list[LandmarksXY]:
    """The lines of a face through its landmarks (68, 2), each (n, 2)."""
    lines = [(xy[first : last + 1], closed) for first, last, closed in STROKES]
    return [np.vstack([line, line[:1]]) if closed else line for line, closed in lines]


def _draw_landmarks(
    axes: Axes, xy: LandmarksXY, face: Gray | None, theme: Theme, size: float = 2.6
) -> None:
    style_axes(axes, theme).set(xticks=[], yticks=[])
    colour = theme.accent
    if face is not None:
        axes.imshow(face, cmap="gray", vmin=0, vmax=255)
        colour = ON_FACE
    for line in face_strokes(xy):
        axes.plot(*line.T, color=colour, linewidth=size / 3, alpha=0.6)
    axes.plot(*xy[1:].T, "o", color=colour, markersize=size, markeredgewidth=0)
    # Point 0 is hollow: the reference features leave it out.
    axes.plot(*xy[:1].T, "o", markersize=size + 1, markerfacecolor="none", markeredgecolor=colour)
    if face is None:
        axes.margins(0.06)
        axes.set_aspect("equal")
        axes.invert_yaxis()
