"""Models side by side: those that answered the very same test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.evaluation.comparable import Group
from fer_ray.evaluation.compare import PAIRED, compare
from fer_ray.evaluation.results import ExperimentResults, RunResults
from fer_ray.evaluation.split_wording import split
from fer_ray.report.figures import curves
from fer_ray.report.figures.picture import Picture, picture
from fer_ray.report.text import wording

MOST_MODELS = 6  # best first, in figures; tables hold all
MOST_CURVES = 4


@dataclass(frozen=True)
class Side:
    """The models of one group, which has two or more.

    Attributes:
        group: They, best first.
        right: Whether each model answers each test image rightly (models, answers).
        predicted: Its answers (models, answers).
        n_images: Distinct test images.
    """

    group: Group
    right: NDArray[np.bool_]
    predicted: NDArray[np.int64]
    n_images: int

    @property
    def shown(self) -> tuple[ExperimentResults, ...]:
        """The models that figures show."""
        return self.group.models[:MOST_MODELS]


def sides(groups: Sequence[Group]) -> list[Side]:
    """Every group in which there is something to compare."""
    return [_side(group) for group in groups if len(group.models) > 1]


def _side(group: Group) -> Side:
    answers = [_answers(item) for item in group.models]
    predicted = np.stack([one["predicted"].to_numpy(dtype=np.int64) for one in answers])
    right = predicted == answers[0]["label"].to_numpy()
    n_images = answers[0].index.get_level_values("image_id").nunique()
    return Side(group, right, predicted, n_images)


def _answers(item: ExperimentResults) -> pd.DataFrame:
    return item.predictions.set_index(PAIRED).sort_index()


def best_two(side: Side) -> str:
    """The paired test between the best two, in words."""
    first, second = side.group.models[:2]
    found = compare((first.trials, first.predictions), (second.trials, second.predictions))
    ends = wording.signed_span(found.interval)
    interval = (
        "no interval" if ends == wording.NONE else f"95\u00a0% interval {ends} ({found.method})"
    )
    p = "no p value" if np.isnan(found.p_value) else f"p = {found.p_value:.2g} ({found.test})"
    return (
        f"{first.label} against {wording.mid_sentence(second.label)}: "
        f"{wording.signed(100 * found.difference)} points, {interval}; {p}."
    )


HEADS = ("Model", "Accuracy", "95\u00a0% interval", "Mean recall", "Log loss", "Training",
         "Wrong", "Alone right", "Alone wrong")  # fmt: skip


def rows(side: Side) -> list[tuple[str, ...]]:
    """One row a model: figures, seconds of all its trials, and where it stands alone."""
    others = side.right.sum(axis=0)[None] - side.right
    alone_right = (side.right & (others == 0)).sum(axis=1)
    alone_wrong = (~side.right & (others == len(side.group.models) - 1)).sum(axis=1)
    return [
        (
            item.label,
            wording.percent(item.summary.test_accuracy),
            wording.span(item.summary.interval),
            wording.percent(item.summary.macro_recall),
            wording.loss(item.summary.test_log_loss),
            wording.duration(item.summary.seconds),
            str(int((~side.right[at]).sum())),
            str(int(alone_right[at])),
            str(int(alone_wrong[at])),
        )
        for at, item in enumerate(side.group.models)
    ]


def hardest(side: Side) -> str:
    """How many answers all models give rightly and wrongly; of two, also how many alike."""
    missed = int((~side.right.any(axis=0)).sum())
    solved = int(side.right.all(axis=0).sum())
    n_models, n = side.right.shape
    everyone = "both models" if n_models == 2 else f"all {n_models} models"
    told = (
        f"Of {n} answers on {side.n_images} images, {everyone} give {solved} rightly and "
        f"{missed} wrongly."
    )
    if n_models > 2:
        return told
    return f"{told} They give {wording.percent(float(agreement(side)[0, 1]))} of them alike."


def pictures(run: RunResults, side: Side, number: int) -> list[Picture]:
    """Calibration and, of three models and more, agreement; `number` is in their files' names."""
    where = f"{run.data_name}; {side.group.split}"
    calibration = picture(
        f"calibration-{number}",
        f"Calibration ({where}): share of right answers by probability of the answer. "
        + "; ".join(
            f"{item.label}: error {wording.percent(item.summary.calibration_error)}"
            for item in side.shown[:MOST_CURVES]
        )
        + ".",
        partial(curves.calibration, side.shown[:MOST_CURVES]),
    )
    return [calibration] if len(side.shown) == 2 else [calibration, _agreement(side, where, number)]


def _agreement(side: Side, where: str, number: int) -> Picture:
    n = len(side.shown)
    return picture(
        f"agreement-{number}",
        f"Share of test answers that two models give alike ({where}). {legend(side)}.",
        partial(curves.agreement, agreement(side)[:n, :n], [f"{at + 1}" for at in range(n)]),
    )


def legend(side: Side) -> str:
    """The models by the numbers that the figure of agreement gives them."""
    return "; ".join(f"{at}: {item.label}" for at, item in enumerate(side.shown, 1))


def agreement(side: Side) -> NDArray[np.float64]:
    """Share of answers that two models give alike (models, models)."""
    alike: NDArray[np.float64] = (side.predicted[:, None] == side.predicted[None]).mean(axis=2)
    return alike


def learning_pictures(run: RunResults) -> list[Picture]:
    """Learning curves of each head, over its trials."""
    made: list[Picture] = []
    for item in run.experiments:
        history = run.histories.get(item.summary.experiment)
        if history is None:
            continue
        shared = curves.shared_epochs(history)
        losses = shared.groupby("epoch")["validation_loss"].mean()
        some = "" if len(shared) == len(history) else f" of the {len(losses)} epochs that all had"
        alt = (
            f"Learning curves of {item.label} ({run.data_name}; {split(item.summary)}), "
            f"means over trials{some}: validation loss is least in epoch "
            f"{int(losses.argmin()) + 1}, {losses.min():.3f} nats."
        )
        if not some and losses.argmin() == len(losses) - 1 > 0:
            alt += (
                " It was still falling then: the head may have more to learn, and search-heads "
                "looks for how."
            )
        name = f"learning-{len(made)}"
        made.append(picture(name, alt, partial(curves.learning, history)))
    return made
