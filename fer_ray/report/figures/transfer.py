"""The figure that shows how far a model's accuracy and recalls carry over to another source."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fer_ray.report.figures.picture import bare_axes, canvas
from fer_ray.report.theme import Theme

ROW_IN = 0.42  # height of one pair
APART = 0.15  # of a row: how far the two of a pair stand above and below its middle


@dataclass(frozen=True)
class Pair:
    """A share with its 95 % interval here, and under the training protocol; nan where unknown."""

    name: str
    here: float
    here_interval: tuple[float, ...]
    there: float
    there_interval: tuple[float, ...]


def carry_over_figure(pairs: Sequence[Pair], here: str, there: str, theme: Theme) -> Figure:
    """Pairs of points with intervals, one row each; the first two stand apart from the classes."""
    figure = canvas(theme, ROW_IN * len(pairs) + 1.0)
    axes = bare_axes(figure.subplots(), theme)
    places = [row + 0.5 * (row > 1) for row in range(len(pairs))]
    for place, pair in zip(places, pairs, strict=True):
        axes.axhline(place, color=theme.line, linewidth=0.8, zorder=0)
        _point(axes, place - APART, pair.there, pair.there_interval, theme.second, "D")
        _point(axes, place + APART, pair.here, pair.here_interval, theme.accent, "o")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_yticks(places, [pair.name for pair in pairs])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\u00a0%"))
    axes.tick_params(axis="x", labelcolor=theme.muted)
    handles = [
        Line2D([], [], color=theme.second, marker="D", markersize=5.5, linewidth=2.5),
        Line2D([], [], color=theme.accent, marker="o", markersize=7, linewidth=2.5),
    ]
    labels = [f"trained and tested on {there}", f"tested on {here}"]
    figure.legend(
        handles, [label.replace("$", r"\$") for label in labels], loc="outside lower left",
        frameon=False, labelcolor=theme.ink, fontsize=10, handlelength=1.8, labelspacing=0.35,
    )  # fmt: skip
    return figure


def _point(
    axes: Axes, y: float, share: float, interval: tuple[float, ...], colour: str, marker: str
) -> None:
    if not math.isnan(interval[0]):
        axes.plot(interval, [y, y], color=colour, linewidth=2.5, alpha=0.5)
    axes.plot(share, y, marker, color=colour, markersize=7 if marker == "o" else 5.5)
