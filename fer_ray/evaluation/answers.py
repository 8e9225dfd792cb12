"""A model's answers held against the labels of images that it was not trained on."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.evaluation.summary import (
    BOOTSTRAP_SEED,
    ExperimentSummary,
    independent_groups,
    summarise,
)
from fer_ray.vocabulary import EMOTIONS

PROTOCOL = "another-source"
RESAMPLES = 2000
LEVEL = 0.95


def judged(rows: pd.DataFrame, labels: tuple[str, ...], trained_on: set[str]) -> pd.DataFrame:
    """The labelled rows that the model may be judged by.

    Left out are images that it was trained on (by their files' hashes) and those of a class that it
    cannot answer with.
    """
    known = rows["emotion"].isin(labels)
    return rows[known & ~rows["sha256"].isin(trained_on)]


def answers(rows: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """Answered rows as predictions (`contracts.PREDICTIONS_SCHEMA`), with their `subject`."""
    rows = rows[rows["predicted"].notna()]
    probabilities = np.zeros((len(rows), len(EMOTIONS)))
    kept = [EMOTIONS.index(name) for name in labels]
    probabilities[:, kept] = rows[[f"p_{name}" for name in labels]].to_numpy()
    return pd.DataFrame(
        {
            "experiment": PROTOCOL,
            "trial": 0,
            "image_id": rows["image_id"].to_numpy(),
            "subject": rows["subject"].to_numpy(),
            "label": [EMOTIONS.index(name) for name in rows["emotion"]],
            "predicted": [EMOTIONS.index(name) for name in rows["predicted"]],
            "probabilities": list(probabilities),
        }
    )


def trial_of(answered: pd.DataFrame, experiment: str, classifier: str, feature_set: str,
             n_train: int) -> pd.DataFrame:  # fmt: skip
    """The one row of trials (`contracts.TRIALS_SCHEMA`) that these answers are."""
    labels = answered["label"].to_numpy()
    probabilities = np.stack(answered["probabilities"].to_list())
    row = {
        "experiment": experiment,
        "classifier": classifier,
        "feature_set": feature_set,
        "protocol": PROTOCOL,
        "trial": 0,
        "n_train": n_train,
        "n_test": len(answered),
        "test_log_loss": metrics.log_loss(labels, probabilities),
        "test_accuracy": metrics.accuracy(labels, answered["predicted"].to_numpy()),
        "seconds": 0.0,
    }
    unknown = ("train_accuracy", "train_log_loss", "test_subject_in_train")
    return pd.DataFrame([{**row, **dict.fromkeys(unknown, float("nan"))}])


def evaluate(
    rows: pd.DataFrame,
    labels: tuple[str, ...],
    trained_on: set[str],
    experiment: tuple[str, str, str],
) -> dict[str, Any] | None:
    """Figures of a model's answers with 95 % intervals; None where no image is labelled.

    Args:
        rows: Predictions of `fer-ray predict`.
        labels: Emotions that the model knows.
        trained_on: Hex SHA-256 of the files that it was fitted on.
        experiment: Name, classifier and feature set of the experiment that it comes from.

    Returns:
        What was left out, coverage (share of the images judged by in which a face was found), and
        `figures`, None where nothing was answered.
    """
    labelled = rows[rows["emotion"].notna()]
    if labelled.empty:
        return None
    asked = judged(labelled, labels, trained_on)
    answered = answers(asked, labels)
    unknown = labelled.loc[~labelled["emotion"].isin(labels), "emotion"].value_counts()
    present, seen = set(asked["emotion"]), {EMOTIONS[code] for code in answered["label"].unique()}
    found: dict[str, Any] = {
        "labelled": len(labelled),
        "left_out_trained_on": int(labelled["sha256"].isin(trained_on).sum()),
        "left_out_unknown_class": {name: int(unknown[name]) for name in unknown.index},
        "judged": len(asked),
        "answered": len(answered),
        "coverage": len(answered) / len(asked) if len(asked) else None,
        "classes_without_images": [name for name in labels if name not in present],
        "classes_without_answers": [name for name in labels if name in present - seen],
        "figures": None,
    }
    if len(answered):
        found["figures"] = _figures(answered, len(asked), experiment)
    return found


def _figures(
    answered: pd.DataFrame, asked: int, experiment: tuple[str, str, str]
) -> dict[str, Any]:
    summary = summarise(trial_of(answered, *experiment, n_train=0), answered)
    intervals = _intervals(answered)
    totals = summary.confusion.sum(axis=1)
    return {
        "images": summary.n_images,
        "subjects": summary.n_subjects,
        "accuracy": summary.test_accuracy,
        "accuracy_counting_no_face_as_wrong": float(np.trace(summary.confusion) / asked),
        "macro_recall": summary.macro_recall,
        "macro_f1": summary.macro_f1,
        "log_loss": summary.test_log_loss,
        "calibration_error": summary.calibration_error,
        "commonest_class_share": float(totals.max() / totals.sum()),
        "intervals_95": {"accuracy": list(summary.interval), **intervals},
        "interval_method": summary.interval_method,
        "recall_by_class": _recalls(summary),
        "recall_interval_method": summary.class_recall_method,
        "confusion": {"classes": list(EMOTIONS), "counts": summary.confusion.tolist()},
    }


def _recalls(summary: ExperimentSummary) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "images": int(summary.confusion[code].sum()),
            "recall": float(summary.class_recalls[code]),
            "interval_95": summary.class_recall_intervals[code].tolist(),
        }
        for code, name in enumerate(EMOTIONS)
        if name in summary.classes
    }


def _intervals(answered: pd.DataFrame) -> dict[str, list[float]]:
    """Percentile intervals where whole subjects (or images) are drawn again with replacement."""
    n = len(EMOTIONS)
    groups, group = np.unique(
        independent_groups(answered)[0].to_numpy().astype(str), return_inverse=True
    )
    labels, guesses = answered["label"].to_numpy(), answered["predicted"].to_numpy()
    probabilities = np.stack(answered["probabilities"].to_list())
    losses = [metrics.log_loss(labels[[i]], probabilities[[i]]) for i in range(len(labels))]
    sums = np.zeros((len(groups), n * n + 1))  # of each group: its confusion counts and its loss
    np.add.at(sums, (group, labels * n + guesses), 1)
    sums[:, -1] = np.bincount(group, weights=losses)
    random = np.random.default_rng(BOOTSTRAP_SEED)
    whole = _per_class(sums.sum(axis=0))
    drawn = np.array([_drawn(sums, whole, random) for _ in range(RESAMPLES)])
    names = ("macro_recall", "macro_f1", "log_loss")
    ends = np.quantile(drawn, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    return {name: ends[:, column].tolist() for column, name in enumerate(names)}


def _drawn(
    sums: NDArray[np.float64], whole: NDArray[np.float64], random: np.random.Generator
) -> tuple[float, float, float]:
    """Mean recall, macro F1 and log loss of groups drawn with replacement.

    A class of few images may not be drawn at all. It then counts as in the `whole`: left out, it
    would raise the mean if the model never gets it right.
    """
    total = np.bincount(random.integers(0, len(sums), len(sums)), minlength=len(sums)) @ sums
    found = _per_class(total)
    means = np.nanmean(np.where(np.isnan(found), whole, found), axis=1)
    return float(means[0]), float(means[1]), float(total[-1] / total[:-1].sum())


def _per_class(total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Recall and F1 of each class (2, 8) from the sums of some groups; nan without images."""
    counts = total[:-1].reshape(len(EMOTIONS), -1)
    images, answers = counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = np.diagonal(counts) / images
        f1 = np.where(images > 0, 2 * np.diagonal(counts) / (images + answers), np.nan)
    return np.stack([recalls, f1])
