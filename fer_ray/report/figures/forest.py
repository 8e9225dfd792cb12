"""The figure that shows all experiments at a glance, drawn for a phone and for a desk."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fer_ray.evaluation.comparable import Group
from fer_ray.evaluation.results import ExperimentResults
from fer_ray.report.figures.picture import WIDTH_IN, bare_axes, canvas
from fer_ray.report.text import wording
from fer_ray.report.theme import Theme

LINE_IN = 0.19  # height of one line of text
RECALL_MARK: dict[str, Any] = {"marker": "|", "markersize": 15, "markeredgewidth": 2.4}
MAJORITY_MARK: dict[str, Any] = {"marker": "x", "markersize": 7, "markeredgewidth": 1.8}
MARKS_IN = 0.3  # what the marks on one line need
EDGE_IN = 0.1
LEGEND = (
    "accuracy with its 95\u00a0% interval",
    "mean recall over the classes",
    "accuracy of always the commonest class",
)


@dataclass(frozen=True)
class Way:
    """How the figure is laid out; lengths in inches.

    Attributes:
        width: Of the figure.
        letters: Of a line of a name.
        left: Where the marks begin.
        right: Where they end.
        beside: Whether names stand beside the marks, or above them.
        gap: Between two groups.
        legend: Height of axis and legend.
        columns: Of the legend.
    """

    width: float
    letters: int
    left: float
    right: float
    beside: bool
    gap: float
    legend: float
    columns: int


PHONE = Way(WIDTH_IN, 40, 0.26, WIDTH_IN - 0.3, False, 0.2, 1.05, 1)
DESK = Way(11.0, 58, 4.5, 9.0, True, 0.22, 0.7, 3)


def comparison(groups: Sequence[Group], data_name: str, way: Way, theme: Theme) -> Figure:
    """Accuracy with its interval, and macro recall, of all experiments, by group."""
    heights = [_title_in(group, way) + sum(_row_in(one, way) for one in group.models)
               for group in groups]  # fmt: skip
    drawn = EDGE_IN + sum(heights) + way.gap * (len(groups) - 1)
    figure = canvas(theme, drawn + way.legend, way.width)
    axes = _axes(figure, way, drawn, theme)
    y = EDGE_IN
    for group, height in zip(groups, heights, strict=True):
        _group(axes, group, y, data_name, way, theme)
        y += height + way.gap
    axes.set_xlim(_lower_end(groups), 1.0)
    _legend(figure, way, theme)
    return figure


def _axes(figure: Figure, way: Way, drawn: float, theme: Theme) -> Axes:
    """Axes for the marks alone, whose y counts inches from their top."""
    figure.set_layout_engine("none")
    height = drawn + way.legend
    place = (way.left / way.width, way.legend / height, (way.right - way.left) / way.width,
             drawn / height)  # fmt: skip
    axes = bare_axes(figure.add_axes(place), theme)
    axes.set_ylim(drawn, 0)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\u00a0%"))
    axes.tick_params(axis="x", labelcolor=theme.muted)
    return axes


def _name(item: ExperimentResults, way: Way) -> list[str]:
    return textwrap.wrap(wording.short(item.label), way.letters, break_on_hyphens=False)


def _row_in(item: ExperimentResults, way: Way) -> float:
    """Height of a row: its name, and the marks beneath it or beside it."""
    text = LINE_IN * len(_name(item, way))
    return max(text, MARKS_IN) + 0.07 if way.beside else text + MARKS_IN


def _facts(group: Group, data_name: str) -> list[str]:
    made = group.best.summary
    return [data_name, *([wording.shared(made)] if made.protocol == "random" else [])]


def _titles(group: Group, data_name: str, way: Way) -> tuple[list[str], list[str]]:
    """The lines of a group's heading, and those of the data beneath it."""
    facts = _facts(group, data_name)
    below = ["; ".join(facts)] if way.beside else facts
    return textwrap.wrap(group.title, way.letters + (20 if way.beside else -2)), below


def _title_in(group: Group, way: Way) -> float:
    return LINE_IN * sum(map(len, _titles(group, "", way))) + 0.1


def _group(axes: Axes, group: Group, y: float, data_name: str, way: Way, theme: Theme) -> None:
    """A heading with the data beneath it, and a row of each model."""
    heading, facts = _titles(group, data_name, way)
    for line in heading:
        _text(axes, y, line, theme.ink, way, weight="bold")
        y += LINE_IN
    for line in facts:
        _text(axes, y, line, theme.muted, way, size=9)
        y += LINE_IN
    y += 0.1
    for item in group.models:
        _row(axes, item, y, way, theme)
        y += _row_in(item, way)


def _text(
    axes: Axes, y: float, text: str, colour: str, way: Way, right: bool = False,
    weight: str = "normal", size: float = 10,
) -> None:  # fmt: skip
    """A line of text whose top is at `y`, at the figure's left or right, without mathematics."""
    at = (way.width - EDGE_IN if right else EDGE_IN) - way.left
    axes.text(
        at / (way.right - way.left), y + LINE_IN / 2, text, color=colour, fontsize=size,
        weight=weight, parse_math=False, transform=axes.get_yaxis_transform(), va="center",
        ha="right" if right else "left",
    )  # fmt: skip


def _row(axes: Axes, item: ExperimentResults, y: float, way: Way, theme: Theme) -> None:
    """A name, the marks (beside its middle, or beneath it) and the accuracy."""
    made, name = item.summary, _name(item, way)
    text = LINE_IN * len(name)
    middle = y + max(text, MARKS_IN) / 2
    for number, line in enumerate(name):
        _text(
            axes, (middle - text / 2 if way.beside else y) + number * LINE_IN, line, theme.ink, way
        )
    share = wording.percent(made.test_accuracy)
    if way.beside and wording.known(made.interval):
        share += f"  ({wording.span(made.interval)})"
    _text(axes, middle - LINE_IN / 2 if way.beside else y, share, theme.ink, way, right=True)
    _marks(axes, item, middle if way.beside else y + text + EDGE_IN, theme)


def _marks(axes: Axes, item: ExperimentResults, y: float, theme: Theme) -> None:
    made = item.summary
    axes.axhline(y, color=theme.line, linewidth=1)
    axes.plot(item.majority_share, y, color=theme.muted, **MAJORITY_MARK)
    axes.plot(made.interval, [y] * 2, color=theme.accent, linewidth=4.5, alpha=0.45)
    axes.plot(made.test_accuracy, y, "o", color=theme.accent, markersize=8.5, clip_on=False)
    axes.plot(made.macro_recall, y, color=theme.second, clip_on=False, **RECALL_MARK)


def _lower_end(groups: Sequence[Group]) -> float:
    shown = []
    for item in (item for group in groups for item in group.models):
        made = item.summary
        low, _ = wording.known(made.interval) or (made.test_accuracy, 0)
        shown += [low, made.macro_recall, item.majority_share, made.test_accuracy]
    return max(0.0, math.floor(10 * min(shown) - 0.2) / 10)


def _legend(figure: Figure, way: Way, theme: Theme) -> None:
    handles = [
        Line2D([], [], color=theme.accent, marker="o", markersize=8.5, linewidth=4.5),
        Line2D([], [], color=theme.second, linestyle="", **RECALL_MARK),
        Line2D([], [], color=theme.muted, linestyle="", **MAJORITY_MARK),
    ]
    figure.legend(
        handles, LEGEND, loc="lower left", frameon=False, labelcolor=theme.ink, fontsize=10,
        ncols=way.columns, handlelength=1.8, labelspacing=0.35, borderaxespad=0.2,
    )  # fmt: skip
