"""The figures of counts and answers: classes, confusion, probabilities."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.evaluation.results import ExperimentResults
from fer_ray.evaluation.split_wording import split
from fer_ray.report.figures.picture import bare_axes, canvas
from fer_ray.report.text import wording
from fer_ray.report.theme import Theme
from fer_ray.vocabulary import EMOTIONS

BAR_IN = 0.36  # height of one class
LABEL_WIDTH = 46  # characters of the confusion matrix's own label that fit on a line


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


def confusion(experiment: ExperimentResults, data_name: str, theme: Theme) -> Figure:
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
    where = f"{data_name}; {split(experiment.summary)}"
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
