"""Charts by class: image counts, confusion matrix, class probabilities."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.experiment_labels import describe_splits
from fer_ray.evaluation.experiments.results import ExperimentResults
from fer_ray.report.figures.themed_picture import new_figure, style_axes
from fer_ray.report.text import formatting
from fer_ray.report.theme import Theme
from fer_ray.vocabulary import EMOTIONS

ROW_IN = 0.36  # height of the bar of one class
LABEL_WIDTH = 46  # characters per line below the confusion matrix


def class_counts(selected: Sequence[int], usable: Sequence[int], theme: Theme) -> Figure:
    """Draw bars of selected and usable images by class.

    Args:
        selected: Number of selected images by class code (8,).
        usable: Number of images with landmarks by class code (8,).
        theme: The colours.
    """
    figure, axes, y = _class_axes(theme, len(EMOTIONS))
    style = {"facecolor": "none", "edgecolor": theme.muted, "linewidth": 1.1}
    axes.barh(y, selected, height=0.68, **style)  # type: ignore[arg-type]
    axes.barh(y, usable, height=0.68, color=theme.accent)
    for position, (used, total) in enumerate(zip(usable, selected, strict=True)):
        _bar_label(axes, max(used, total), position, f"{used} of {total}", theme)
    axes.set_xlim(0, 1.27 * max(1, *selected, *usable))
    return figure


def test_labels(counts: Sequence[int], theme: Theme) -> Figure:
    """Draw bars of test images by class code (8,)."""
    figure, axes, y = _class_axes(theme, len(EMOTIONS))
    axes.barh(y, counts, height=0.68, color=theme.accent)
    for position, count in enumerate(counts):
        _bar_label(axes, count, position, f"{count}", theme)
    axes.set_xlim(0, 1.12 * max(1, *counts))
    return figure


def _class_axes(theme: Theme, n: int) -> tuple[Figure, Axes, NDArray[np.int64]]:
    figure = new_figure(theme, ROW_IN * n + 0.25)
    axes = style_axes(figure.subplots(), theme)
    y = np.arange(n)
    axes.set_yticks(y, EMOTIONS, fontsize=10.5)
    axes.set_xticks([])
    axes.set_ylim(n - 0.45, -0.55)
    return figure, axes, y


def _bar_label(axes: Axes, end: float, y: float, text: str, theme: Theme) -> None:
    axes.annotate(
        text, (end, y), xytext=(5, 0), textcoords="offset points",
        va="center", color=theme.ink, fontsize=10.5,
    )  # fmt: skip


def confusion(experiment: ExperimentResults, data_name: str, theme: Theme) -> Figure:
    """Draw the row-normalised confusion matrix, in per cent of each true class."""
    counts = experiment.summary.confusion
    present = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    shares = metrics.row_normalised(counts)[np.ix_(present, present)]
    figure = new_figure(theme, 4.15)
    axes = style_axes(figure.subplots(), theme)
    axes.imshow(np.nan_to_num(shares), cmap=theme.scale, vmin=0, vmax=1)
    edges = np.arange(len(present) + 1) - 0.5
    axes.hlines(edges, edges[0], edges[-1], color=theme.line, linewidth=0.6)
    axes.vlines(edges, edges[0], edges[-1], color=theme.line, linewidth=0.6)
    for (row, column), share in np.ndenumerate(shares):
        _cell_label(axes, row, column, share, theme)
    names = [EMOTIONS[code] for code in present]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names)
    axes.set_ylabel("true class", color=theme.muted, fontsize=9.5)
    lines = [
        "predicted class, % of the true class",
        textwrap.fill(experiment.label, LABEL_WIDTH),
        textwrap.fill(f"{data_name}; {describe_splits(experiment.summary)}", LABEL_WIDTH),
    ]
    axes.set_xlabel("\n".join(lines), color=theme.muted, fontsize=9.5, parse_math=False)
    return figure


def _cell_label(axes: Axes, row: int, column: int, share: float, theme: Theme) -> None:
    if share == 0:
        return
    text = "–" if math.isnan(share) else f"{100 * share:.0f}"
    colour = theme.text_on_scale(0.0 if math.isnan(share) else share)
    weight = "bold" if row == column else "normal"
    label = axes.text(
        column, row, text, ha="center", va="center", color=colour, fontsize=10, weight=weight
    )
    label.set_in_layout(False)  # the text fits into its cell


def draw_probabilities(
    axes: Axes, values: Sequence[float], actual: int, predicted: int, theme: Theme
) -> None:
    """Draw bars of class probabilities, with the actual and the predicted class highlighted.

    Args:
        axes: The axes to draw on.
        values: Probability by class code (8,).
        actual: Code of the actual class.
        predicted: Code of the predicted class.
        theme: The colours.
    """
    style_axes(axes, theme)
    highlights = {predicted: theme.accent, actual: theme.second}
    colours = [highlights.get(code, theme.muted) for code in range(len(EMOTIONS))]
    y = np.arange(len(EMOTIONS))
    axes.barh(y, values, height=0.66, color=colours)
    axes.set_yticks(y, EMOTIONS, fontsize=9.5)
    for code in (actual, predicted):
        axes.get_yticklabels()[code].set(color=colours[code], weight="bold")
    axes.set_xticks([])
    axes.set_ylim(len(EMOTIONS) - 0.45, -0.55)
    axes.set_xlim(0, 1.35 * max(values))
    for position, value in enumerate(values):
        _bar_label(axes, value, position, formatting.whole_percent(value), theme)
