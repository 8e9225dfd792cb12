"""Evaluation of a model's predictions on labelled images that it was not trained on."""

from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import pandas as pd

from fer_ray.evaluation import metrics
from fer_ray.evaluation.answers import evaluate_answers
from fer_ray.evaluation.bootstrap import figures_with_intervals
from fer_ray.evaluation.experiments.summary import ExperimentSummary, summarise
from fer_ray.vocabulary import EMOTIONS

PROTOCOL = "another-source"


def evaluate_predictions(
    rows: pd.DataFrame,
    labels: tuple[str, ...],
    trained_on: AbstractSet[str],
    experiment: tuple[str, str, str],
) -> dict[str, Any] | None:
    """Evaluate predictions, with 95% intervals.

    Args:
        rows: Predictions of `fer-ray predict`, as from `face_rows.one_row_per_image`.
        labels: Emotions that the model was trained on.
        trained_on: Hex SHA-256 of the files that it was fitted on.
        experiment: Name, classifier and feature set of the experiment that it comes from.

    Returns:
        Numbers of images that were excluded, coverage (the share of the evaluated images in which a
        face was found), and `figures`, which is None if no evaluated image has a prediction. None
        if no image is labelled.
    """
    labelled = rows[rows["emotion"].notna()]
    if labelled.empty:
        return None
    evaluable = select_evaluable(labelled, labels, trained_on)
    predictions = to_predictions(evaluable, labels)
    other_classes = labelled.loc[~labelled["emotion"].isin(labels), "emotion"].value_counts()
    present = set(evaluable["emotion"])
    predicted_classes = {EMOTIONS[code] for code in predictions["label"].unique()}
    evaluation: dict[str, Any] = {
        "labelled": len(labelled),
        "left_out_trained_on": int(labelled["sha256"].isin(trained_on).sum()),
        "left_out_several_faces": int((labelled["faces"] > 1).sum()),
        "left_out_unknown_class": {name: int(other_classes[name]) for name in other_classes.index},
        "judged": len(evaluable),
        "answered": len(predictions),
        "coverage": len(predictions) / len(evaluable) if len(evaluable) else None,
        "classes_without_images": [name for name in labels if name not in present],
        "classes_without_answers": [n for n in labels if n in present - predicted_classes],
        "figures": None,
    }
    if len(predictions):
        evaluation["figures"] = {
            **_figures(predictions, len(evaluable), experiment),
            "answers": evaluate_answers(evaluable),
        }
    return evaluation


def select_evaluable(
    rows: pd.DataFrame, labels: tuple[str, ...], trained_on: AbstractSet[str]
) -> pd.DataFrame:
    """Select the labelled rows on which the model can be evaluated.

    Images that it was trained on (by the hashes of their files) are excluded, and so are those of
    classes that it does not predict. An image with predictions for several faces is excluded as
    well, because its label does not say which face it describes.
    """
    known, single = rows["emotion"].isin(labels), rows["faces"] <= 1
    return rows[known & single & ~rows["sha256"].isin(trained_on)]


def to_predictions(rows: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """Convert rows with a prediction to `schemas.PREDICTIONS_SCHEMA` plus `subject`."""
    rows = rows[rows["predicted"].notna()]
    probabilities = np.zeros((len(rows), len(EMOTIONS)))
    codes = [EMOTIONS.index(name) for name in labels]
    probabilities[:, codes] = rows[[f"p_{name}" for name in labels]].to_numpy()
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


def to_trial_row(
    predictions: pd.DataFrame, experiment: str, classifier: str, feature_set: str, n_train: int
) -> pd.DataFrame:
    """Return these predictions as the single row of a table of trials (`schemas.TRIALS_SCHEMA`)."""
    labels = predictions["label"].to_numpy()
    probabilities = np.stack(predictions["probabilities"].to_list())
    row = {
        "experiment": experiment,
        "classifier": classifier,
        "feature_set": feature_set,
        "protocol": PROTOCOL,
        "trial": 0,
        "n_train": n_train,
        "n_test": len(predictions),
        "test_log_loss": metrics.log_loss(labels, probabilities),
        "test_accuracy": metrics.accuracy(labels, predictions["predicted"].to_numpy()),
        "seconds": 0.0,
    }
    unknown = ("train_accuracy", "train_log_loss", "test_subject_in_train")
    return pd.DataFrame([{**row, **dict.fromkeys(unknown, float("nan"))}])


def _figures(
    predictions: pd.DataFrame, n_evaluable: int, experiment: tuple[str, str, str]
) -> dict[str, Any]:
    summary = summarise(to_trial_row(predictions, *experiment, n_train=0), predictions)
    totals = summary.confusion.sum(axis=1)
    _, intervals = figures_with_intervals(predictions)
    return {
        "images": summary.n_images,
        "subjects": summary.n_subjects,
        "accuracy": summary.test_accuracy,
        "accuracy_counting_no_face_as_wrong": float(np.trace(summary.confusion) / n_evaluable),
        "macro_recall": summary.macro_recall,
        "macro_f1": summary.macro_f1,
        "log_loss": summary.test_log_loss,
        "calibration_error": summary.calibration_error,
        "majority_class_share": float(totals.max() / totals.sum()),
        "intervals_95": {
            "accuracy": list(summary.interval),
            **{name: list(intervals[name]) for name in ("macro_recall", "macro_f1", "log_loss")},
        },
        "interval_method": summary.interval_method,
        "recall_by_class": _recall_by_class(summary),
        "recall_interval_method": summary.class_recall_method,
        "confusion": {"classes": list(EMOTIONS), "counts": summary.confusion.tolist()},
    }


def _recall_by_class(summary: ExperimentSummary) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "images": int(summary.confusion[code].sum()),
            "recall": float(summary.class_recalls[code]),
            "interval_95": summary.class_recall_intervals[code].tolist(),
        }
        for code, name in enumerate(EMOTIONS)
        if name in summary.classes
    }
