"""The forest plot of all experiments, in a narrow and a wide layout."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup
from fer_ray.evaluation.experiments.results import ExperimentResults
from fer_ray.report.figures.themed_picture import WIDTH_IN, new_figure, style_axes
from fer_ray.report.text import formatting
from fer_ray.report.theme import Theme

LINE_IN = 0.19  # height of a line of text
MARKS_IN = 0.3  # height of the marks of a row
EDGE_IN = 0.1
RECALL_MARK: dict[str, Any] = {"marker": "|", "markersize": 15, "markeredgewidth": 2.4}
MAJORITY_MARK: dict[str, Any] = {"marker": "x", "markersize": 7, "markeredgewidth": 1.8}
LEGEND = (
    "accuracy with its 95% interval",
    "macro recall",
    "accuracy of always predicting the majority class",
)


@dataclass(frozen=True)
class ForestLayout:
    """Layout of the figure; lengths in inches.

    Attributes:
        width: Width of the figure.
        label_chars: Characters per line of a label.
        left: Left edge of the marks.
        right: Right edge of the marks.
        side_labels: Whether labels are left of the marks, or above them.
        group_gap: Space between two groups.
        legend_height: Height of the axis and the legend.
        legend_columns: Columns of the legend.
    """

    width: float
    label_chars: int
    left: float
    right: float
    side_labels: bool
    group_gap: float
    legend_height: float
    legend_columns: int


NARROW = ForestLayout(WIDTH_IN, 40, 0.26, WIDTH_IN - 0.3, False, 0.2, 1.05, 1)
WIDE = ForestLayout(11.0, 58, 4.5, 9.0, True, 0.22, 0.7, 3)


def forest_plot(
    groups: Sequence[ExperimentGroup], data_name: str, layout: ForestLayout, theme: Theme
) -> Figure:
    """Draw accuracy with its interval, macro recall and majority share of each experiment."""
    heights = [
        _heading_height(group, layout) + sum(_row_height(item, layout) for item in group.models)
        for group in groups
    ]
    height = EDGE_IN + sum(heights) + layout.group_gap * (len(groups) - 1)
    figure = new_figure(theme, height + layout.legend_height, layout.width)
    axes = _add_axes(figure, layout, height, theme)
    y = EDGE_IN
    for group, group_height in zip(groups, heights, strict=True):
        _draw_group(axes, group, y, data_name, layout, theme)
        y += group_height + layout.group_gap
    axes.set_xlim(_lower_limit(groups), 1.0)
    _add_legend(figure, layout, theme)
    return figure


def _add_axes(figure: Figure, layout: ForestLayout, height: float, theme: Theme) -> Axes:
    """Add axes for the marks, with y in inches from the top."""
    figure.set_layout_engine("none")
    total = height + layout.legend_height
    bounds = (
        layout.left / layout.width,
        layout.legend_height / total,
        (layout.right - layout.left) / layout.width,
        height / total,
    )
    axes = style_axes(figure.add_axes(bounds), theme)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="%"))
    axes.tick_params(axis="x", labelcolor=theme.muted)
    return axes


def _label_lines(item: ExperimentResults, layout: ForestLayout) -> list[str]:
    label = formatting.short_label(item.label)
    return textwrap.wrap(label, layout.label_chars, break_on_hyphens=False)


def _row_height(item: ExperimentResults, layout: ForestLayout) -> float:
    """Height of a row: its label, and the marks next to it or below it."""
    text = LINE_IN * len(_label_lines(item, layout))
    return max(text, MARKS_IN) + 0.07 if layout.side_labels else text + MARKS_IN


def _heading_lines(
    group: ExperimentGroup, data_name: str, layout: ForestLayout
) -> tuple[list[str], list[str]]:
    """The lines of a group's heading, and those of the data below it."""
    summary = group.best.summary
    overlap = [formatting.subject_overlap(summary)] if summary.protocol == "random" else []
    facts = [data_name, *overlap]
    title = textwrap.wrap(group.title, layout.label_chars + (20 if layout.side_labels else -2))
    return title, ["; ".join(facts)] if layout.side_labels else facts


def _heading_height(group: ExperimentGroup, layout: ForestLayout) -> float:
    return LINE_IN * sum(map(len, _heading_lines(group, "", layout))) + 0.1


def _draw_group(
    axes: Axes, group: ExperimentGroup, y: float, data_name: str, layout: ForestLayout, theme: Theme
) -> None:
    """Draw a heading with the data below it, and a row for each model."""
    title, facts = _heading_lines(group, data_name, layout)
    for line in title:
        _draw_text(axes, y, line, theme.ink, layout, weight="bold")
        y += LINE_IN
    for line in facts:
        _draw_text(axes, y, line, theme.muted, layout, size=9)
        y += LINE_IN
    y += 0.1
    for item in group.models:
        _draw_row(axes, item, y, layout, theme)
        y += _row_height(item, layout)


def _draw_text(
    axes: Axes, y: float, text: str, colour: str, layout: ForestLayout, right: bool = False,
    weight: str = "normal", size: float = 10,
) -> None:  # fmt: skip
    """Draw a line of plain text with its top at `y`, at the left or right edge of the figure."""
    x = (layout.width - EDGE_IN if right else EDGE_IN) - layout.left
    axes.text(
        x / (layout.right - layout.left), y + LINE_IN / 2, text, color=colour, fontsize=size,
        weight=weight, parse_math=False, transform=axes.get_yaxis_transform(), va="center",
        ha="right" if right else "left",
    )  # fmt: skip


def _draw_row(
    axes: Axes, item: ExperimentResults, y: float, layout: ForestLayout, theme: Theme
) -> None:
    """Draw the label, the accuracy and the marks of an experiment."""
    summary, lines = item.summary, _label_lines(item, layout)
    text_height = LINE_IN * len(lines)
    middle = y + max(text_height, MARKS_IN) / 2
    top = middle - text_height / 2 if layout.side_labels else y
    for number, line in enumerate(lines):
        _draw_text(axes, top + number * LINE_IN, line, theme.ink, layout)
    share = formatting.percent(summary.test_accuracy)
    if layout.side_labels and formatting.known_interval(summary.interval):
        share += f"  ({formatting.interval(summary.interval)})"
    share_top = middle - LINE_IN / 2 if layout.side_labels else y
    _draw_text(axes, share_top, share, theme.ink, layout, right=True)
    _draw_marks(axes, item, middle if layout.side_labels else y + text_height + EDGE_IN, theme)


def _draw_marks(axes: Axes, item: ExperimentResults, y: float, theme: Theme) -> None:
    summary = item.summary
    axes.axhline(y, color=theme.line, linewidth=1)
    axes.plot(item.majority_share, y, color=theme.muted, **MAJORITY_MARK)
    axes.plot(summary.interval, [y] * 2, color=theme.accent, linewidth=4.5, alpha=0.45)
    axes.plot(summary.test_accuracy, y, "o", color=theme.accent, markersize=8.5, clip_on=False)
    axes.plot(summary.macro_recall, y, color=theme.second, clip_on=False, **RECALL_MARK)


def _lower_limit(groups: Sequence[ExperimentGroup]) -> float:
    shown = []
    for item in (item for group in groups for item in group.models):
        summary = item.summary
        low, _ = formatting.known_interval(summary.interval) or (summary.test_accuracy, 0)
        shown += [low, summary.macro_recall, item.majority_share, summary.test_accuracy]
    return max(0.0, math.floor(10 * min(shown) - 0.2) / 10)


def _add_legend(figure: Figure, layout: ForestLayout, theme: Theme) -> None:
    handles = [
        Line2D([], [], color=theme.accent, marker="o", markersize=8.5, linewidth=4.5),
        Line2D([], [], color=theme.second, linestyle="", **RECALL_MARK),
        Line2D([], [], color=theme.muted, linestyle="", **MAJORITY_MARK),
    ]
    figure.legend(
        handles, LEGEND, loc="lower left", frameon=False, labelcolor=theme.ink, fontsize=10,
        ncols=layout.legend_columns, handlelength=1.8, labelspacing=0.35, borderaxespad=0.2,
    )  # fmt: skip
