"""The figures of models side by side: agreement, calibration, learning curves."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from fer_ray.evaluation.results import ExperimentResults
from fer_ray.report.figures.picture import bare_axes, canvas
from fer_ray.report.text import wording
from fer_ray.report.theme import Theme

BINS = 10  # of the probability of the answer
LEAST_ANSWERS = 5  # of a bin that is drawn
STYLES = ("-", "--", ":", "-.")


def agreement(shares: NDArray[np.float64], names: Sequence[str], theme: Theme) -> Figure:
    """Share of answers that two models give alike (models, models), in per cent."""
    figure = canvas(theme, 3.6)
    axes = bare_axes(figure.subplots(), theme)
    axes.imshow(shares, cmap=theme.scale, vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=10,
                  color=theme.text_on_scale(share)).set_in_layout(False)  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("same answer, % of test answers", color=theme.muted, fontsize=9.5)
    return figure


def calibration(models: Sequence[ExperimentResults], theme: Theme) -> Figure:
    """Share of right answers by the probability that a model gives its answer."""
    figure = canvas(theme, 4.0 + 0.2 * len(models))
    axes = _curve_axes(figure.subplots(), theme)
    axes.plot([0, 1], [0, 1], color=theme.line, linewidth=1.2)
    for item, style, colour in zip(models, STYLES, _colours(theme), strict=False):
        confidence, right = reliability(item)
        axes.plot(confidence, right, linestyle=style, color=colour, marker="o", markersize=4,
                  linewidth=1.6, clip_on=False,
                  label=fill(wording.short(item.label), 44))  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.set_xlabel("probability of the answer, %", color=theme.muted, fontsize=9.5)
    axes.set_ylabel("answers that are right, %", color=theme.muted, fontsize=9.5)
    _legend(figure, theme)
    return figure


def reliability(item: ExperimentResults) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean probability and share of right answers of each bin with enough answers."""
    probabilities = np.stack(item.predictions["probabilities"].to_list()).astype(float)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == item.predictions["label"].to_numpy()
    bins = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    kept = [code for code in range(BINS) if (bins == code).sum() >= LEAST_ANSWERS]
    return (
        np.array([confidence[bins == code].mean() for code in kept]),
        np.array([right[bins == code].mean() for code in kept]),
    )


def learning(history: pd.DataFrame, theme: Theme) -> Figure:
    """Loss and accuracy of training and validation by epoch: means over trials, and their range.

    Only of epochs that all trials have had; where some go on, each has a thin line of its own.
    """
    whole = shared_epochs(history)
    figure = canvas(theme, 4.6)
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, what in ((above, "loss"), (below, "accuracy")):
        _curve_axes(axes, theme)
        for part, colour, style in (("train", theme.accent, "-"),
                                    ("validation", theme.second, "--")):  # fmt: skip
            by_epoch = whole.groupby("epoch")[f"{part}_{what}"]
            mean, low, high = by_epoch.mean(), by_epoch.min(), by_epoch.max()
            epochs = mean.index.to_numpy() + 1
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(epochs, mean, color=colour, linestyle=style, linewidth=1.8,
                      label=part if axes is above else None)  # fmt: skip
            for _, trial in history[history["epoch"] >= len(mean) - 1].groupby("trial"):
                axes.plot(trial["epoch"] + 1, trial[f"{part}_{what}"], color=colour,
                          linestyle=style, linewidth=0.6, alpha=0.6)  # fmt: skip
        axes.set_ylabel(what, color=theme.muted, fontsize=9.5)
    below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    below.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    below.set_xlabel("epoch", color=theme.muted, fontsize=9.5)
    _legend(figure, theme, columns=2)
    return figure


def shared_epochs(history: pd.DataFrame) -> pd.DataFrame:
    """The epochs that every trial has had: a mean over the rest would be over fewer and fewer."""
    shortest = history.groupby("trial")["epoch"].max().min()
    kept: pd.DataFrame = history[history["epoch"] <= shortest]
    return kept


def _curve_axes(axes: Axes, theme: Theme) -> Axes:
    bare_axes(axes, theme)
    axes.grid(color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def _colours(theme: Theme) -> tuple[str, ...]:
    return theme.accent, theme.second, theme.ink, theme.muted


def _legend(figure: Figure, theme: Theme, columns: int = 1) -> None:
    figure.legend(
        loc="outside lower left", frameon=False, labelcolor=theme.ink, fontsize=9.5, ncols=columns,
        handlelength=2.6, labelspacing=0.3, borderaxespad=0.2,
    )  # fmt: skip
