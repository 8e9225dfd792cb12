"""The figures that hold numbers: comparison, class counts, confusion, probabilities."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from fer_ray.contracts import EMOTIONS
from fer_ray.learn import metrics
from fer_ray.learn.summary import ExperimentSummary
from fer_ray.report import wording
from fer_ray.report.picture import bare_axes, canvas
from fer_ray.report.run_folder import Experiment
from fer_ray.report.theme import Theme

ROW_IN = 0.52  # height of one experiment in the comparison
MOST_LETTERS = 38  # of a name at full size beside its accuracy
GROUP_GAP = 1.6  # what a protocol's title takes, in rows
RECALL_MARK: dict[str, Any] = {"marker": "|", "markersize": 15, "markeredgewidth": 2.4}
MAJORITY_MARK: dict[str, Any] = {"marker": "x", "markersize": 7, "markeredgewidth": 1.8}
BAR_IN = 0.36  # height of one class
LABEL_WIDTH = 46  # characters of the confusion matrix's own label that fit on a line


def comparison(groups: Sequence[Sequence[Experiment]], data_name: str, theme: Theme) -> Figure:
    """Accuracy with its interval, and macro recall, of all experiments, grouped by protocol."""
    n_rows = sum(len(group) + GROUP_GAP for group in groups)
    figure = canvas(theme, ROW_IN * n_rows + 1.25)
    axes = bare_axes(figure.subplots(), theme)
    axes.set_xlim(_lower_end(groups), 1.0)
    y = 0.0
    for group in groups:
        _group_title(axes, y, group[0].summary, data_name, theme)
        for position, experiment in enumerate(group):
            _comparison_row(axes, experiment, y + position + 1.25, theme)
        y += len(group) + GROUP_GAP
    axes.set_ylim(y - 0.35, -0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="\u00a0%"))
    axes.tick_params(axis="x", labelcolor=theme.muted)
    _comparison_legend(figure, theme)
    return figure


def _lower_end(groups: Sequence[Sequence[Experiment]]) -> float:
    shown = [
        value
        for group in groups
        for item in group
        for value in (
            item.summary.interval[0],
            item.summary.macro_recall,
            item.majority_share,
            item.summary.test_accuracy,
        )
    ]
    return max(0.0, math.floor(10 * float(np.nanmin(shown)) - 0.2) / 10)


def _group_title(
    axes: Axes, y: float, summary: ExperimentSummary, data_name: str, theme: Theme
) -> None:
    """A protocol's name, and beneath it the data and, on random splits, the shared subjects."""
    split = wording.split(summary)
    _row_text(axes, y, split[0].upper() + split[1:], theme.ink, weight="bold")
    facts = [data_name, *([wording.shared(summary)] if summary.protocol == "random" else [])]
    axes.text(
        0, y + 0.24, "\n".join(facts), color=theme.muted, fontsize=9, parse_math=False,
        transform=axes.get_yaxis_transform(), va="top", linespacing=1.25,
    )  # fmt: skip


def _row_text(
    axes: Axes,
    y: float,
    text: str,
    colour: str,
    right: bool = False,
    weight: str = "normal",
    fontsize: float = 10,
) -> None:
    """Text at data `y` at the left or right end of the axes, with no mathematics in it."""
    axes.text(
        float(right), y, text, color=colour, fontsize=fontsize, weight=weight, parse_math=False,
        transform=axes.get_yaxis_transform(), va="center", ha="right" if right else "left",
    )  # fmt: skip


def _comparison_row(axes: Axes, experiment: Experiment, y: float, theme: Theme) -> None:
    summary, track = experiment.summary, y + 0.42
    name = experiment.label.replace(" features", "")
    _row_text(axes, y, name, theme.ink, fontsize=min(10, 10 * MOST_LETTERS / len(name)))
    _row_text(axes, y, wording.percent(summary.test_accuracy), theme.ink, right=True)
    axes.axhline(track, color=theme.line, linewidth=1)
    axes.plot(experiment.majority_share, track, color=theme.muted, **MAJORITY_MARK)
    axes.plot(summary.interval, [track] * 2, color=theme.accent, linewidth=4.5, alpha=0.45)
    axes.plot(summary.test_accuracy, track, "o", color=theme.accent, markersize=8.5)
    axes.plot(summary.macro_recall, track, color=theme.second, **RECALL_MARK)


def _comparison_legend(figure: Figure, theme: Theme) -> None:
    handles = [
        Line2D([], [], color=theme.accent, marker="o", markersize=8.5, linewidth=4.5),
        Line2D([], [], color=theme.second, linestyle="", **RECALL_MARK),
        Line2D([], [], color=theme.muted, linestyle="", **MAJORITY_MARK),
    ]
    labels = ["accuracy with its 95\u00a0% interval", "mean recall over the classes",
              "accuracy of always the commonest class"]  # fmt: skip
    figure.legend(
        handles, labels, loc="outside lower left", frameon=False, labelcolor=theme.ink,
        fontsize=10, ncols=1, handlelength=1.8, labelspacing=0.35, borderaxespad=0.2,
    )  # fmt: skip


def class_counts(selected: Sequence[int], usable: Sequence[int], theme: Theme) -> Figure:
    """Bars of images by class: those selected, and those with landmarks, out of `EMOTIONS`."""
    figure, axes, y = _class_axes(theme, len(EMOTIONS))
    style = {"facecolor": "none", "edgecolor": theme.muted, "linewidth": 1.1}
    axes.barh(y, selected, height=0.68, **style)  # type: ignore[arg-type]
    axes.barh(y, usable, height=0.68, color=theme.accent)
    for position, (used, total) in enumerate(zip(usable, selected, strict=True)):
        _bar_text(axes, max(used, total), position, f"{used} of {total}", theme)
    axes.set_xlim(0, 1.27 * max(1, *selected, *usable))
    return figure


def test_labels(counts: Sequence[int], theme: Theme) -> Figure:
    """Bars of test images by class."""
    figure, axes, y = _class_axes(theme, len(EMOTIONS))
    axes.barh(y, counts, height=0.68, color=theme.accent)
    for position, count in enumerate(counts):
        _bar_text(axes, count, position, f"{count}", theme)
    axes.set_xlim(0, 1.12 * max(1, *counts))
    return figure


def _class_axes(theme: Theme, n: int) -> tuple[Figure, Axes, NDArray[np.int64]]:
    figure = canvas(theme, BAR_IN * n + 0.25)
    axes = bare_axes(figure.subplots(), theme)
    y = np.arange(n)
    axes.set_yticks(y, EMOTIONS, fontsize=10.5)
    axes.set_xticks([])
    axes.set_ylim(n - 0.45, -0.55)
    return figure, axes, y


def _bar_text(axes: Axes, end: float, y: float, text: str, theme: Theme) -> None:
    axes.annotate(
        text, (end, y), xytext=(5, 0), textcoords="offset points",
        va="center", color=theme.ink, fontsize=10.5,
    )  # fmt: skip


def confusion(experiment: Experiment, data_name: str, theme: Theme) -> Figure:
    """Row-normalised confusion matrix, per cent of each true class."""
    counts = experiment.summary.confusion
    present = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    shares = metrics.row_normalised(counts)[np.ix_(present, present)]
    figure = canvas(theme, 4.15)
    axes = bare_axes(figure.subplots(), theme)
    axes.imshow(np.nan_to_num(shares), cmap=theme.scale, vmin=0, vmax=1)
    edges = np.arange(len(present) + 1) - 0.5
    axes.hlines(edges, edges[0], edges[-1], color=theme.line, linewidth=0.6)
    axes.vlines(edges, edges[0], edges[-1], color=theme.line, linewidth=0.6)
    for (row, column), share in np.ndenumerate(shares):
        _cell(axes, row, column, share, theme)
    names = [EMOTIONS[code] for code in present]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names)
    axes.set_ylabel("true class", color=theme.muted, fontsize=9.5)
    what = f"predicted class, % of the true one\n{textwrap.fill(experiment.label, LABEL_WIDTH)}\n"
    where = f"{data_name}; {wording.split(experiment.summary)}"
    axes.set_xlabel(what + where, color=theme.muted, fontsize=9.5, parse_math=False)
    return figure


def _cell(axes: Axes, row: int, column: int, share: float, theme: Theme) -> None:
    if share == 0:
        return
    text = "–" if math.isnan(share) else f"{100 * share:.0f}"
    colour = theme.text_on_scale(0.0 if math.isnan(share) else share)
    weight = "bold" if row == column else "normal"
    label = axes.text(
        column, row, text, ha="center", va="center", color=colour, fontsize=10, weight=weight
    )
    label.set_in_layout(False)  # it stays within its cell


def probabilities(axes: Axes, values: Sequence[float], actual: int, guess: int, t: Theme) -> None:
    """Bars of class probabilities by code; the actual class and the predicted one stand out."""
    bare_axes(axes, t)
    colours = [t.second if i == actual else t.accent if i == guess else t.muted for i in range(8)]
    y = np.arange(len(EMOTIONS))
    axes.barh(y, values, height=0.66, color=colours)
    axes.set_yticks(y, EMOTIONS, fontsize=9.5)
    for code in (actual, guess):
        axes.get_yticklabels()[code].set(color=colours[code], weight="bold")
    axes.set_xticks([])
    axes.set_ylim(len(EMOTIONS) - 0.45, -0.55)
    axes.set_xlim(0, 1.35 * max(values))
    for position, value in enumerate(values):
        _bar_text(axes, value, position, wording.whole_percent(value), t)
