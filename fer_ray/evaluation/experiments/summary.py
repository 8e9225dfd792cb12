"""Summary of one experiment: the figures that tables and the report show."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.vocabulary import EMOTIONS

BOOTSTRAP_SEED = 20100613  # fixed, so that a report is reproducible to the digit

Interval = tuple[float, float]


@dataclass(frozen=True)
class ExperimentSummary:
    """Figures of one experiment over all its trials."""

    experiment: str
    classifier: str
    feature_set: str
    protocol: str
    n_trials: int
    n_images: int  # distinct images that were tested at least once
    n_subjects: int  # distinct subjects among them; 0 if none is known
    # Random trials: mean over trials. Folds: share correct among all images, each tested once.
    test_accuracy: float
    test_accuracy_sd: float  # over trials or folds; NaN for a single one
    interval: Interval  # 95%
    interval_method: str
    train_accuracy: float
    test_log_loss: float
    train_log_loss: float
    macro_recall: float
    macro_f1: float
    test_subject_in_train: float  # mean share; NaN if no subject is known
    confusion: NDArray[np.int64]  # (8, 8) over all trials; rows are true classes
    seconds: float  # summed over trials
    classes: tuple[str, ...]  # the tested classes
    calibration_error: float  # expected calibration error, over all predictions
    # That of a perfectly calibrated model; NaN for random trials, which predict images repeatedly.
    chance_calibration_error: float
    class_recalls: NDArray[np.float64]  # (8,) over all trials; NaN for classes not tested
    class_recall_intervals: NDArray[np.float64]  # (8, 2), 95%
    class_recall_method: str


def is_folds(protocol: str) -> bool:
    """Return whether the protocol tests every image once, so that folds are pooled."""
    return not protocol.startswith(("random", "given-trials"))


def summarise(trials: pd.DataFrame, predictions: pd.DataFrame) -> ExperimentSummary:
    """Summarise one experiment.

    Args:
        trials: Rows of one experiment (`schemas.TRIALS_SCHEMA`).
        predictions: Its predictions (`schemas.PREDICTIONS_SCHEMA`) with a `subject` column.
    """
    first = trials.iloc[0]
    labels, predicted = predictions["label"].to_numpy(), predictions["predicted"].to_numpy()
    confusion = metrics.confusion_counts(labels, predicted, len(EMOTIONS))
    accuracy, log_loss, recall, f1 = _averages(trials, labels, predicted)
    interval, method = _interval(trials, predictions)
    probabilities = np.stack(predictions["probabilities"].to_list())
    return ExperimentSummary(
        experiment=first["experiment"],
        classifier=first["classifier"],
        feature_set=first["feature_set"],
        protocol=first["protocol"],
        n_trials=len(trials),
        n_images=predictions["image_id"].nunique(),
        n_subjects=predictions["subject"].nunique(),
        test_accuracy=accuracy,
        test_accuracy_sd=float(trials["test_accuracy"].std(ddof=1)),
        interval=interval,
        interval_method=method,
        train_accuracy=float(trials["train_accuracy"].mean()),
        test_log_loss=log_loss,
        train_log_loss=float(trials["train_log_loss"].mean()),
        macro_recall=recall,
        macro_f1=f1,
        test_subject_in_train=float(trials["test_subject_in_train"].mean()),
        confusion=confusion,
        seconds=float(trials["seconds"].sum()),
        classes=tuple(np.array(EMOTIONS)[confusion.sum(axis=1) > 0].tolist()),
        calibration_error=metrics.expected_calibration_error(labels, probabilities),
        chance_calibration_error=(
            metrics.chance_calibration_error(probabilities)
            if is_folds(first["protocol"])
            else float("nan")
        ),
        class_recalls=metrics.class_recalls(confusion),
        class_recall_intervals=_recall_intervals(predictions),
        class_recall_method=f"Wilson's, over {independent_groups(predictions)[1]}",
    )


def _averages(
    trials: pd.DataFrame, labels: NDArray[np.int8], predicted: NDArray[np.int8]
) -> tuple[float, float, float, float]:
    """Accuracy, log loss, macro recall and macro F1: pooled over folds, or means over trials."""
    if is_folds(trials.iloc[0]["protocol"]):
        # Each fold's log loss is its own mean, so the mean over images is a weighted one.
        log_loss = float(np.average(trials["test_log_loss"], weights=trials["n_test"]))
        accuracy = metrics.accuracy(labels, predicted)
        return accuracy, log_loss, *metrics.macro_recall_and_f1(labels, predicted)
    columns = ("test_accuracy", "test_log_loss", "test_macro_recall", "test_macro_f1")
    accuracy, log_loss, recall, f1 = (float(trials[column].mean()) for column in columns)
    return accuracy, log_loss, recall, f1


def independent_groups(predictions: pd.DataFrame) -> tuple["pd.Series[str]", str]:
    """Return the units that can be considered independent, and what they are.

    They are subjects, or images if the subject of one is unknown.
    """
    if predictions["subject"].notna().all():
        return predictions["subject"], "subjects"
    return predictions["image_id"], "images"


def _recall_intervals(predictions: pd.DataFrame) -> NDArray[np.float64]:
    """Wilson's interval of each class's recall, (8, 2); NaN for classes that were not tested.

    The number of cases is the class's number of subjects: images of one subject are not
    independent, nor are the predictions of several random trials for one image. (A bootstrap would
    give an interval of zero width to a small class that is entirely correct.)
    """
    groups, _ = independent_groups(predictions)
    correct = predictions["label"] == predictions["predicted"]
    intervals = np.full((len(EMOTIONS), 2), np.nan)
    for code in predictions["label"].unique():
        rows = predictions["label"] == code
        n = groups[rows].nunique()
        intervals[code] = metrics.wilson_interval(float(correct[rows].mean()), n)
    return intervals


def _interval(trials: pd.DataFrame, predictions: pd.DataFrame) -> tuple[Interval, str]:
    """The 95% interval of accuracy, and how it was computed."""
    if is_folds(trials.iloc[0]["protocol"]):
        return accuracy_interval(predictions)
    if len(trials) < 2:
        return (float("nan"), float("nan")), "none: a single trial"
    if trials["test_accuracy"].nunique() == 1:
        return (float("nan"), float("nan")), "none: all trials have the same accuracy"
    ratio = float((trials["n_test"] / trials["n_train"]).mean())
    interval = metrics.resampled_interval(trials["test_accuracy"].to_numpy(), ratio)
    return interval, "corrected resampled t over trials"


def accuracy_interval(predictions: pd.DataFrame) -> tuple[Interval, str]:
    """Compute the 95% interval of the accuracy of predictions, one per image.

    Args:
        predictions: `schemas.PREDICTIONS_SCHEMA` plus `subject`.

    Returns:
        The interval by bootstrap over subjects, and its description. Wilson's if all predictions
        are correct, or none.
    """
    correct = (predictions["label"] == predictions["predicted"]).to_numpy()
    groups, name = independent_groups(predictions)
    units = groups.to_numpy(dtype=object)
    if correct.all() or not correct.any():  # every bootstrap sample has the same share
        n = len(set(units))
        return metrics.wilson_interval(float(correct.mean()), n), f"Wilson's, over {name}"
    interval = metrics.subject_bootstrap_interval(correct, units, BOOTSTRAP_SEED)
    return interval, f"bootstrap over {name}"


def summary_record(summary: ExperimentSummary) -> dict[str, Any]:
    """Return one experiment's figures with its protocol, for `run.json` and `--json`."""
    return {
        "experiment": summary.experiment,
        "classifier": summary.classifier,
        "feature_set": summary.feature_set,
        "protocol": summary.protocol,
        "trials": summary.n_trials,
        "images": summary.n_images,
        "subjects": summary.n_subjects,
        "test_accuracy": summary.test_accuracy,
        "test_accuracy_sd": _none_if_nan(summary.test_accuracy_sd),
        "interval_95": [_none_if_nan(bound) for bound in summary.interval],
        "interval_method": summary.interval_method,
        "train_accuracy": summary.train_accuracy,
        "test_log_loss": summary.test_log_loss,
        "train_log_loss": summary.train_log_loss,
        "macro_recall": summary.macro_recall,
        "macro_f1": summary.macro_f1,
        "test_subject_in_train": _none_if_nan(summary.test_subject_in_train),
        "classes": list(summary.classes),
        "calibration_error": summary.calibration_error,
        "chance_calibration_error": _none_if_nan(summary.chance_calibration_error),
        "recall_by_class": _recall_by_class(summary),
        "recall_interval_method": summary.class_recall_method,
    }


def _recall_by_class(summary: ExperimentSummary) -> dict[str, dict[str, Any]]:
    """Recall of each tested class with its 95% interval."""
    codes = {name: EMOTIONS.index(name) for name in summary.classes}
    return {
        name: {
            "recall": float(summary.class_recalls[code]),
            "interval_95": summary.class_recall_intervals[code].tolist(),
        }
        for name, code in codes.items()
    }


def _none_if_nan(value: float) -> float | None:
    """Replace NaN, which JSON does not have, with None."""
    return value if value == value else None
