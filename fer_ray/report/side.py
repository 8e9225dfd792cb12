"""Models side by side: those that answered the very same test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.learn.compare import PAIRED, compare
from fer_ray.report import curves, wording
from fer_ray.report.picture import Picture, picture
from fer_ray.report.run_folder import Experiment, RunFolder

MOST_MODELS = 6  # best first, in figures; tables hold all
MOST_CURVES = 4


@dataclass(frozen=True)
class Side:
    """Models of one protocol on the same test images.

    Attributes:
        title: Of the protocol.
        models: Best first.
        right: Whether each model answers each test image rightly (models, answers).
        predicted: Its answers (models, answers).
        n_images: Distinct test images.
    """

    title: str
    models: tuple[Experiment, ...]
    right: NDArray[np.bool_]
    predicted: NDArray[np.int64]
    n_images: int


def sides(groups: Sequence[Sequence[Experiment]]) -> list[Side]:
    """Of each protocol, the most models that were tested on the very same images, best first."""
    return [side for side in map(_side, groups) if side is not None]


def _side(group: Sequence[Experiment]) -> Side | None:
    by_images: dict[int, list[Experiment]] = {}
    for item in group:
        tested = pd.util.hash_pandas_object(_answers(item).index.to_frame(index=False), index=False)
        by_images.setdefault(hash(tuple(tested)), []).append(item)
    same = max(by_images.values(), key=len)
    if len(same) < 2:
        return None
    answers = [_answers(item) for item in same]
    predicted = np.stack([one["predicted"].to_numpy(dtype=np.int64) for one in answers])
    right = predicted == answers[0]["label"].to_numpy()
    n_images = answers[0].index.get_level_values("image_id").nunique()
    return Side(wording.title(group[0].summary), tuple(same), right, predicted, n_images)


def _answers(item: Experiment) -> pd.DataFrame:
    return item.predictions.set_index(PAIRED).sort_index()


def best_two(side: Side) -> str:
    """The paired test between the best two, in words."""
    first, second = side.models[:2]
    found = compare((first.trials, first.predictions), (second.trials, second.predictions))
    ends = wording.signed_span(found.interval)
    p = "no p value from a single trial" if np.isnan(found.p_value) else f"p = {found.p_value:.2g}"
    return (
        f"{first.label} against {wording.mid_sentence(second.label)}: "
        f"{wording.signed(100 * found.difference)} points, 95\u00a0% interval {ends} "
        f"({found.method}); {p} ({found.test})."
    )


HEADS = ("Model", "Accuracy", "95\u00a0% interval", "Mean recall", "Log loss", "Training",
         "Wrong", "Alone right", "Alone wrong")  # fmt: skip


def rows(side: Side) -> list[tuple[str, ...]]:
    """One row a model: figures, seconds of all its trials, and where it stands alone."""
    others = side.right.sum(axis=0)[None] - side.right
    alone_right = (side.right & (others == 0)).sum(axis=1)
    alone_wrong = (~side.right & (others == len(side.models) - 1)).sum(axis=1)
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
        for at, item in enumerate(side.models)
    ]


def hardest(side: Side) -> str:
    """How many answers all models miss, and of which classes most of them are."""
    missed = ~side.right.any(axis=0)
    solved = side.right.all(axis=0)
    n = side.right.shape[1]
    return (
        f"Of {n} answers on {side.n_images} images, all {len(side.models)} models give "
        f"{int(solved.sum())} rightly and {int(missed.sum())} wrongly."
    )


def pictures(run: RunFolder, found: Sequence[Side]) -> dict[str, list[Picture]]:
    """Agreement and calibration of each side, by its title."""
    made = {}
    for number, side in enumerate(found):
        shown = side.models[:MOST_MODELS]
        agree = agreement(side)[: len(shown), : len(shown)]
        names = [f"{at + 1}" for at in range(len(shown))]
        facts = "; ".join(f"{at + 1}: {item.label}" for at, item in enumerate(shown))
        where = f"{run.data_name}; {wording.split(shown[0].summary)}"
        made[side.title] = [
            picture(
                f"agreement-{number}",
                f"Share of test answers that two models give alike ({where}). {facts}.",
                partial(curves.agreement, agree, names),
            ),
            picture(
                f"calibration-{number}",
                f"Calibration ({where}): share of right answers by probability of the answer. "
                + "; ".join(
                    f"{item.label}: error {wording.percent(item.summary.calibration_error)}"
                    for item in shown[:MOST_CURVES]
                ),
                partial(curves.calibration, shown[:MOST_CURVES]),
            ),
        ]
    return made


def agreement(side: Side) -> NDArray[np.float64]:
    """Share of answers that two models give alike (models, models)."""
    alike: NDArray[np.float64] = (side.predicted[:, None] == side.predicted[None]).mean(axis=2)
    return alike


def learning_pictures(run: RunFolder) -> list[Picture]:
    """Learning curves of each head, over its trials."""
    made: list[Picture] = []
    for item in run.experiments:
        history = run.histories.get(item.summary.experiment)
        if history is None:
            continue
        last = history.groupby("epoch")[["train_loss", "validation_loss"]].mean()
        lowest = int(last["validation_loss"].argmin())
        alt = (
            f"Learning curves of {item.label} ({run.data_name}; {wording.split(item.summary)}), "
            f"means over trials: validation loss is least in epoch {lowest + 1}, "
            f"{last['validation_loss'].min():.3f} nats."
        )
        name = f"learning-{len(made)}"
        made.append(picture(name, alt, partial(curves.learning, history)))
    return made
