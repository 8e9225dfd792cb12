"""The figure of a transfer matrix: accuracy and macro recall by training and test source."""

import math
import textwrap
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fer_ray.report.figures.themed_picture import new_figure, style_axes
from fer_ray.report.theme import LIGHT, Theme

PANELS = {"accuracy": "Accuracy", "macro_recall": "Macro recall"}
ROW_IN, COLUMN_IN, MARGIN_IN = 0.75, 1.05, 1.6
NAME_WIDTH = 14  # characters per line of a source's name

Row = dict[str, Any]


def transfer_matrix(rows: Sequence[Row], theme: Theme) -> Figure:
    """Draw a matrix for each metric; rows are training sources and columns test sources.

    Args:
        rows: Figures of each cell (`transfer_figures.TRANSFER_SCHEMA`).
        theme: The colours.
    """
    train = list(dict.fromkeys(row["train"] for row in rows))
    test = list(dict.fromkeys(row["test"] for row in rows))
    width = max(4.0, MARGIN_IN + COLUMN_IN * len(test))
    figure = new_figure(theme, 2 * (ROW_IN * len(train) + 1.1), width)
    for axes, (name, title) in zip(figure.subplots(2, 1), PANELS.items(), strict=True):
        style_axes(axes, theme)
        axes.set_title(title, color=theme.ink, fontsize=11, loc="left")
        for row in rows:
            _draw_cell(axes, test.index(row["test"]), train.index(row["train"]), row, name, theme)
        axes.set_xlim(-0.5, len(test) - 0.5)
        axes.set_ylim(len(train) - 0.5, -0.5)
        _label(axes, train, test, theme)
    return figure


def _draw_cell(axes: Axes, x: int, y: int, row: Row, name: str, theme: Theme) -> None:
    value = row.get(name)
    share = value if value is not None and not math.isnan(value) else 0.0
    corner, edge = (x - 0.48, y - 0.46), theme.second if row["train"] == row["test"] else theme.line
    axes.add_patch(
        Rectangle(corner, 0.96, 0.92, facecolor=theme.scale(share), edgecolor=edge, linewidth=1.2)
    )
    if value is None or math.isnan(value):
        axes.text(x, y, "–", ha="center", va="center", color=theme.ink, fontsize=10)
        return
    colour = theme.text_on_scale(share)
    axes.text(x, y - 0.08, f"{100 * value:.1f}", ha="center", va="center", color=colour,
              fontsize=11, weight="bold")  # fmt: skip
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is not None and high is not None:
        axes.text(x, y + 0.24, f"{100 * low:.0f}–{100 * high:.0f}", ha="center", va="center",
                  color=colour, fontsize=8)  # fmt: skip


def _label(axes: Axes, train: list[str], test: list[str], theme: Theme) -> None:
    names = [[textwrap.fill(_plain(name), NAME_WIDTH) for name in part] for part in (train, test)]
    axes.set_yticks(range(len(train)), names[0])
    axes.set_xticks(range(len(test)), names[1])
    axes.set_ylabel("trained on", color=theme.muted, fontsize=9.5)
    axes.set_xlabel("tested on, %", color=theme.muted, fontsize=9.5)


def _plain(name: str) -> str:
    return name.replace("$", r"\$")  # matplotlib would read it as mathematics


def transfer_matrix_svg(rows: Sequence[Row]) -> bytes:
    """Draw the matrix in the light theme as SVG."""
    content = BytesIO()
    figure = transfer_matrix(rows, LIGHT)
    canvas: Any = FigureCanvasSVG(figure)  # matplotlib leaves it untyped
    canvas.print_svg(content, metadata={"Date": None})
    return content.getvalue()
