"""Maps of what a model relies on, one per class, on the mean face or the mean landmarks."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer_ray.features.appearance import FACE_PX
from fer_ray.report.figures.landmark_plots import Gray, LandmarksXY, face_strokes
from fer_ray.report.figures.themed_picture import WIDTH_IN, new_figure, style_axes
from fer_ray.report.theme import Theme

WIDE_IN = 11.0
MAX_MARK = 10.0  # diameter of the point with the largest contribution, in typographic points


@dataclass(frozen=True)
class EvidencePanel:
    """The map of one class; coordinates are pixels of the aligned face.

    Attributes:
        name: The class.
        landmarks_xy: Mean landmarks (68, 2).
        face: Mean face (128, 128) uint8; None if it may not be shown.
        cells: Contribution of each cell of the face (k, k), rows from the top; None if unknown.
        points: Contribution of each landmark (68,); None without landmark features.
    """

    name: str
    landmarks_xy: LandmarksXY
    face: Gray | None
    cells: NDArray[np.float64] | None
    points: NDArray[np.float64] | None


def evidence_maps(panels: Sequence[EvidencePanel], wide: bool, theme: Theme) -> Figure:
    """Draw the panels: in one row on wide screens, otherwise three in a row."""
    columns = len(panels) if wide else 3
    rows = -(-len(panels) // columns)
    width = WIDE_IN if wide else WIDTH_IN
    figure = new_figure(theme, rows * (width / columns + 0.25), width)
    cells = _largest([panel.cells for panel in panels])
    points = _largest([panel.points for panel in panels])
    for number in range(rows * columns):
        axes = style_axes(figure.add_subplot(rows, columns, number + 1), theme)
        axes.set(xticks=[], yticks=[], xlim=(0, FACE_PX), ylim=(FACE_PX, 0), aspect="equal")
        if number < len(panels):
            _draw_panel(axes, panels[number], cells, points, theme)
    return figure


def _largest(maps: Sequence[NDArray[np.float64] | None]) -> float:
    """The largest absolute contribution in any class, so that panels can be compared."""
    return max((float(np.abs(one).max()) for one in maps if one is not None), default=0.0) or 1.0


def _draw_panel(
    axes: Axes, panel: EvidencePanel, cells: float, points: float, theme: Theme
) -> None:
    axes.set_title(panel.name, color=theme.ink, fontsize=10)
    if panel.face is not None:
        axes.imshow(panel.face, cmap="gray", vmin=0, vmax=255, extent=(0, FACE_PX, FACE_PX, 0))
    if panel.cells is not None:
        axes.imshow(_overlay(panel.cells / cells, theme), extent=(0, FACE_PX, FACE_PX, 0))
    for line in face_strokes(panel.landmarks_xy):
        axes.plot(*line.T, color=theme.muted, linewidth=0.7, alpha=0.8)
    if panel.points is not None:
        shares = panel.points / points
        for colour, sign in ((theme.accent, 1), (theme.second, -1)):
            sizes = (MAX_MARK * np.sqrt(np.clip(sign * shares, 0, 1))) ** 2
            x, y = panel.landmarks_xy.T
            axes.scatter(x, y, s=sizes, color=colour, alpha=0.75, linewidth=0)


def _overlay(shares: NDArray[np.float64], theme: Theme) -> NDArray[np.float64]:
    """Shares from −1 to 1 (k, k) as RGBA (128, 128, 4): the larger, the more opaque."""
    smooth = cv2.resize(shares, (FACE_PX, FACE_PX), interpolation=cv2.INTER_CUBIC).clip(-1, 1)
    positive = np.array([*to_rgb(theme.accent)])
    negative = np.array([*to_rgb(theme.second)])
    colours = np.where(smooth[..., None] >= 0, positive, negative)
    return np.concatenate([colours, 0.85 * np.abs(smooth)[..., None]], axis=2)
