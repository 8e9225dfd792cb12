"""Comparison of models on the same test images: tables, sentences and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.evaluation.comparison import PAIRED, compare
from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup
from fer_ray.evaluation.experiments.experiment_labels import describe_splits
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.report.figures import model_curves
from fer_ray.report.figures.themed_picture import Picture, draw_picture
from fer_ray.report.text import formatting

MAX_MODELS = 6  # in figures, best first; tables have all
MAX_CURVES = 4

HEADS = ("Model", "Accuracy", "95% interval", "Macro recall", "Log loss", "Training time",
         "Wrong", "Uniquely correct", "Uniquely wrong")  # fmt: skip
PAIR_HEADS = ("Models", "Difference, points", "95% interval", "p-value",
              "Uniquely correct, first / second")  # fmt: skip


@dataclass(frozen=True)
class ModelComparison:
    """Two or more models of a group.

    Attributes:
        group: The models, best first.
        correct: Whether each prediction is correct (models, predictions).
        predicted: Predicted class codes (models, predictions).
        n_images: Number of distinct test images.
    """

    group: ExperimentGroup
    correct: NDArray[np.bool_]
    predicted: NDArray[np.int64]
    n_images: int

    @property
    def in_figures(self) -> tuple[ExperimentResults, ...]:
        """The models that figures show."""
        return self.group.models[:MAX_MODELS]


def compare_groups(groups: Sequence[ExperimentGroup]) -> list[ModelComparison]:
    """Compare the models of each group that has two or more."""
    return [_compare_models(group) for group in groups if len(group.models) > 1]


def _compare_models(group: ExperimentGroup) -> ModelComparison:
    tables = [_paired_predictions(item) for item in group.models]
    predicted = np.stack([table["predicted"].to_numpy(dtype=np.int64) for table in tables])
    correct = predicted == tables[0]["label"].to_numpy()
    n_images = tables[0].index.get_level_values("image_id").nunique()
    return ModelComparison(group, correct, predicted, n_images)


def _paired_predictions(item: ExperimentResults) -> pd.DataFrame:
    return item.predictions.set_index(PAIRED).sort_index()


def describe_best_two(comparison: ModelComparison) -> str:
    """The paired test between the best two models, as a sentence."""
    first, second = comparison.group.models[:2]
    test = compare((first.trials, first.predictions), (second.trials, second.predictions))
    ends = formatting.signed_interval(test.interval)
    interval = (
        "no interval" if ends == formatting.NO_INTERVAL else f"95% interval {ends} ({test.method})"
    )
    p = "no p-value" if np.isnan(test.p_value) else f"p = {test.p_value:.2g} ({test.test})"
    return (
        f"{first.label} versus {formatting.mid_sentence(second.label)}: "
        f"{formatting.points(test.difference)} points, {interval}; {p}."
    )


def model_rows(comparison: ModelComparison) -> list[tuple[str, ...]]:
    """One row per model: metrics, training time, and where it differs from all others."""
    correct = comparison.correct
    others_correct = correct.sum(axis=0)[None] - correct
    n_others = len(comparison.group.models) - 1
    uniquely_correct = (correct & (others_correct == 0)).sum(axis=1)
    uniquely_wrong = (~correct & (others_correct == n_others)).sum(axis=1)
    return [
        (
            item.label,
            formatting.percent(item.summary.test_accuracy),
            formatting.interval(item.summary.interval),
            formatting.percent(item.summary.macro_recall),
            formatting.loss(item.summary.test_log_loss),
            formatting.duration(item.summary.seconds),
            str(int((~correct[row]).sum())),
            str(int(uniquely_correct[row])),
            str(int(uniquely_wrong[row])),
        )
        for row, item in enumerate(comparison.group.models)
    ]


def pair_rows(comparison: ModelComparison) -> list[tuple[tuple[str, str], tuple[str, ...]]]:
    """The paired test of each pair of the best models: the names of both, and a row of text."""
    return [
        ((first.name, second.name), _pair_row(first, second))
        for first, second in combinations(comparison.in_figures, 2)
    ]


def _pair_row(first: ExperimentResults, second: ExperimentResults) -> tuple[str, ...]:
    test = compare((first.trials, first.predictions), (second.trials, second.predictions))
    p = "–" if np.isnan(test.p_value) else f"{test.p_value:.2g}"
    ends = formatting.signed_interval(test.interval)
    labels = f"{first.label} − {formatting.mid_sentence(second.label)}"
    only = f"{test.only_first} / {test.only_second}"
    return labels, formatting.points(test.difference), ends, p, only


def describe_consensus(comparison: ModelComparison) -> str:
    """The predictions that all models get right or wrong; for two models also their agreement."""
    all_wrong = int((~comparison.correct.any(axis=0)).sum())
    all_correct = int(comparison.correct.all(axis=0).sum())
    n_models, n = comparison.correct.shape
    models = "both models" if n_models == 2 else f"all {n_models} models"
    text = (
        f"Of {n} predictions on {comparison.n_images} images, {models} get {all_correct} right and "
        f"{all_wrong} wrong."
    )
    if n_models > 2:
        return text
    share = float(agreement(comparison)[0, 1])
    return f"{text} They agree on {formatting.percent(share)} of them."


def agreement(comparison: ModelComparison) -> NDArray[np.float64]:
    """Share of identical predictions for each pair of models (models, models)."""
    predicted = comparison.predicted
    shares: NDArray[np.float64] = (predicted[:, None] == predicted[None]).mean(axis=2)
    return shares


def comparison_pictures(run: RunResults, comparison: ModelComparison, number: int) -> list[Picture]:
    """Calibration and, for three or more models, agreement; file names contain `number`."""
    models, data = comparison.in_figures, f"{run.data_name}; {comparison.group.split}"
    errors = "; ".join(
        f"{item.label}: error {formatting.percent(item.summary.calibration_error)}"
        for item in models[:MAX_CURVES]
    )
    curves = {item.label: item.predictions for item in models}
    calibration = draw_picture(
        f"calibration-{number}",
        f"Calibration ({data}): share of correct predictions by probability of the predicted "
        f"class. {errors}.",
        partial(model_curves.calibration, curves),
    )
    if len(models) == 2:
        return [calibration]
    return [calibration, _agreement_picture(comparison, data, number)]


def _agreement_picture(comparison: ModelComparison, data: str, number: int) -> Picture:
    n = len(comparison.in_figures)
    shares, names = agreement(comparison)[:n, :n], [f"{model + 1}" for model in range(n)]
    return draw_picture(
        f"agreement-{number}",
        f"Share of identical predictions for each pair of models ({data}). {legend(comparison)}.",
        partial(model_curves.agreement, shares, names),
    )


def legend(comparison: ModelComparison) -> str:
    """The numbers of the models in the agreement figure."""
    return "; ".join(
        f"{number}: {item.label}" for number, item in enumerate(comparison.in_figures, 1)
    )


def learning_pictures(run: RunResults) -> list[Picture]:
    """Learning curves of each network head over its trials."""
    pictures: list[Picture] = []
    for item in run.experiments:
        history = run.histories.get(item.summary.experiment)
        if history is not None:
            alt = (
                f"Learning curves of {item.label} ({run.data_name}; "
                f"{describe_splits(item.summary)}), {_describe_learning(history)}"
            )
            name = f"learning-{len(pictures)}"
            pictures.append(draw_picture(name, alt, partial(model_curves.learning, history)))
    return pictures


def _describe_learning(history: pd.DataFrame) -> str:
    """Describe where the mean validation loss is lowest, and whether it was still decreasing."""
    common = model_curves.shared_epochs(history)
    losses = common.groupby("epoch")["validation_loss"].mean()
    complete = len(common) == len(history)
    scope = "" if complete else f" of the {len(losses)} epochs that all trials have"
    text = (
        f"means over trials{scope}: the lowest validation loss is {losses.min():.3f} nats, in "
        f"epoch {int(losses.argmin()) + 1}."
    )
    if complete and losses.argmin() == len(losses) - 1 > 0:
        text += " It was still decreasing: train longer, or let search-heads find better settings."
    return text
