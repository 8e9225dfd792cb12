"""The figure that compares a model's performance on another source with its cross-validation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fer_ray.report.figures.themed_picture import new_figure, style_axes
from fer_ray.report.theme import Theme

ROW_IN = 0.42  # height of a row
OFFSET = 0.15  # of the two points of a row from its middle, as a share of the row


@dataclass(frozen=True)
class MetricPair:
    """One metric on the new source and under the training protocol; NaN if unknown.

    Attributes:
        name: Name of the metric.
        target: Its value on the new source.
        target_interval: Its 95% interval on the new source.
        trained: Its value under the training protocol.
        trained_interval: Its 95% interval under the training protocol.
    """

    name: str
    target: float
    target_interval: tuple[float, ...]
    trained: float
    trained_interval: tuple[float, ...]


def transfer_plot(
    pairs: Sequence[MetricPair], target_name: str, trained_name: str, theme: Theme
) -> Figure:
    """Draw both values of each metric with their intervals; the first two metrics are set apart.

    Args:
        pairs: Accuracy, macro recall, then the recall of each class.
        target_name: Name of the new source.
        trained_name: Name of the data that the model was trained on.
        theme: The colours.
    """
    figure = new_figure(theme, ROW_IN * len(pairs) + 1.0)
    axes = style_axes(figure.subplots(), theme)
    rows = [row + 0.5 * (row > 1) for row in range(len(pairs))]
    for y, pair in zip(rows, pairs, strict=True):
        axes.axhline(y, color=theme.line, linewidth=0.8, zorder=0)
        _draw_point(axes, y - OFFSET, pair.trained, pair.trained_interval, theme.second, "D")
        _draw_point(axes, y + OFFSET, pair.target, pair.target_interval, theme.accent, "o")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.set_yticks(rows, [pair.name for pair in pairs])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="%"))
    axes.tick_params(axis="x", labelcolor=theme.muted)
    handles = [
        Line2D([], [], color=theme.second, marker="D", markersize=5.5, linewidth=2.5),
        Line2D([], [], color=theme.accent, marker="o", markersize=7, linewidth=2.5),
    ]
    labels = [f"trained and tested on {trained_name}", f"tested on {target_name}"]
    figure.legend(
        handles, [label.replace("$", r"\$") for label in labels], loc="outside lower left",
        frameon=False, labelcolor=theme.ink, fontsize=10, handlelength=1.8, labelspacing=0.35,
    )  # fmt: skip
    return figure


def _draw_point(
    axes: Axes, y: float, share: float, interval: tuple[float, ...], colour: str, marker: str
) -> None:
    if not math.isnan(interval[0]):
        axes.plot(interval, [y, y], color=colour, linewidth=2.5, alpha=0.5)
    axes.plot(share, y, marker, color=colour, markersize=7 if marker == "o" else 5.5)
