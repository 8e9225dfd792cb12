"""Figures of several models: agreement matrix, calibration curves, learning curves."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from fer_ray.report.figures.themed_picture import new_figure, style_axes
from fer_ray.report.text import formatting
from fer_ray.report.theme import Theme

N_BINS = 10  # bins of the probability of the predicted class
MIN_PREDICTIONS = 5  # per bin; smaller bins are not drawn
LINE_STYLES = ("-", "--", ":", "-.")


def agreement(shares: NDArray[np.float64], names: Sequence[str], theme: Theme) -> Figure:
    """Draw the share of identical predictions of pairs of models (models, models), in per cent."""
    figure = new_figure(theme, 3.6)
    axes = style_axes(figure.subplots(), theme)
    axes.imshow(shares, cmap=theme.scale, vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=10,
                  color=theme.text_on_scale(share)).set_in_layout(False)  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("same prediction, % of test predictions", color=theme.muted, fontsize=9.5)
    return figure


def calibration(curves: Mapping[str, pd.DataFrame], theme: Theme) -> Figure:
    """Draw the share of correct predictions by the probability of the predicted class.

    Args:
        curves: Predictions (`label`, `probabilities`) of each curve, by its label. Curves after the
            fourth are left out.
        theme: The colours.
    """
    figure = new_figure(theme, 4.0 + 0.2 * min(len(curves), len(LINE_STYLES)))
    axes = _curve_axes(figure.subplots(), theme)
    axes.plot([0, 1], [0, 1], color=theme.line, linewidth=1.2)
    styles = zip(curves.items(), LINE_STYLES, _line_colours(theme), strict=False)
    for (label, predictions), style, colour in styles:
        confidence, correct = reliability(predictions)
        axes.plot(confidence, correct, linestyle=style, color=colour, marker="o", markersize=4,
                  linewidth=1.6, clip_on=False,
                  label=fill(formatting.short_label(label), 44))  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.set_xlabel("probability of the predicted class, %", color=theme.muted, fontsize=9.5)
    axes.set_ylabel("correct predictions, %", color=theme.muted, fontsize=9.5)
    _add_legend(figure, theme)
    return figure


def reliability(predictions: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean probability and share of correct predictions of each bin with enough predictions."""
    probabilities = np.stack(predictions["probabilities"].to_list()).astype(float)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == predictions["label"].to_numpy()
    bins = np.clip((confidence * N_BINS).astype(int), 0, N_BINS - 1)
    shown = [code for code in range(N_BINS) if (bins == code).sum() >= MIN_PREDICTIONS]
    return (
        np.array([confidence[bins == code].mean() for code in shown]),
        np.array([correct[bins == code].mean() for code in shown]),
    )


def learning(history: pd.DataFrame, theme: Theme) -> Figure:
    """Draw training and validation loss and accuracy by epoch: mean and range over trials.

    The mean covers the epochs that all trials have. Longer trials continue as thin lines.
    """
    common = shared_epochs(history)
    figure = new_figure(theme, 4.6)
    top, bottom = figure.subplots(2, 1, sharex=True)
    for axes, metric in ((top, "loss"), (bottom, "accuracy")):
        _curve_axes(axes, theme)
        for part, colour, style in (("train", theme.accent, "-"),
                                    ("validation", theme.second, "--")):  # fmt: skip
            by_epoch = common.groupby("epoch")[f"{part}_{metric}"]
            mean, low, high = by_epoch.mean(), by_epoch.min(), by_epoch.max()
            epochs = mean.index.to_numpy() + 1
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(epochs, mean, color=colour, linestyle=style, linewidth=1.8,
                      label=part if axes is top else None)  # fmt: skip
            for _, trial in history[history["epoch"] >= len(mean) - 1].groupby("trial"):
                axes.plot(trial["epoch"] + 1, trial[f"{part}_{metric}"], color=colour,
                          linestyle=style, linewidth=0.6, alpha=0.6)  # fmt: skip
        axes.set_ylabel(metric, color=theme.muted, fontsize=9.5)
    bottom.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    bottom.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    bottom.set_xlabel("epoch", color=theme.muted, fontsize=9.5)
    _add_legend(figure, theme, columns=2)
    return figure


def shared_epochs(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of epochs that every trial has; later means would cover fewer and fewer trials."""
    last_common = history.groupby("trial")["epoch"].max().min()
    common: pd.DataFrame = history[history["epoch"] <= last_common]
    return common


def _curve_axes(axes: Axes, theme: Theme) -> Axes:
    style_axes(axes, theme)
    axes.grid(color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def _line_colours(theme: Theme) -> tuple[str, ...]:
    return theme.accent, theme.second, theme.ink, theme.muted


def _add_legend(figure: Figure, theme: Theme, columns: int = 1) -> None:
    figure.legend(
        loc="outside lower left", frameon=False, labelcolor=theme.ink, fontsize=9.5, ncols=columns,
        handlelength=2.6, labelspacing=0.3, borderaxespad=0.2,
    )  # fmt: skip
