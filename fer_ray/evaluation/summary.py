"""One experiment in figures: what the closing table prints and the report draws."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.vocabulary import EMOTIONS

BOOTSTRAP_SEED = 20100613  # fixed, so that a report can be made again to the digit


@dataclass(frozen=True)
class ExperimentSummary:
    """Figures of one experiment over all its trials."""

    experiment: str
    classifier: str
    feature_set: str
    protocol: str
    n_trials: int
    n_images: int  # distinct images that were tested at least once
    n_subjects: int  # distinct subjects among them; 0 where none is known
    # Random trials: mean over trials. Folds: share correct among all images, each tested once.
    test_accuracy: float
    test_accuracy_sd: float  # over trials or folds; nan for a single one
    interval: tuple[float, float]  # 95 %
    interval_method: str
    train_accuracy: float
    test_log_loss: float
    train_log_loss: float
    macro_recall: float
    macro_f1: float
    test_subject_in_train: float  # mean share; nan where no subject is known
    confusion: NDArray[np.int64]  # (8, 8) over all trials; rows are true classes
    seconds: float  # summed over trials
    classes: tuple[str, ...]  # those that were tested
    calibration_error: float  # expected calibration error, over all answers
    class_recalls: NDArray[np.float64]  # (8,) over all trials; nan for classes not tested
    class_recall_intervals: NDArray[np.float64]  # (8, 2), 95 %
    class_recall_method: str


def is_folds(protocol: str) -> bool:
    """Whether the protocol tests every image once, so that answers are pooled over its folds."""
    return not protocol.startswith(("random", "given-trials"))


def summarise(trials: pd.DataFrame, predictions: pd.DataFrame) -> ExperimentSummary:
    """Sum up one experiment.

    Args:
        trials: Rows of one experiment (`contracts.TRIALS_SCHEMA`).
        predictions: Its predictions (`contracts.PREDICTIONS_SCHEMA`) with a `subject` column.
    """
    first = trials.iloc[0]
    counts = metrics.confusion_counts(
        predictions["label"].to_numpy(), predictions["predicted"].to_numpy(), len(EMOTIONS)
    )
    folds = is_folds(first["protocol"])
    pooled_accuracy = float(np.trace(counts) / counts.sum())
    interval, method = _interval(trials, predictions, folds)
    return ExperimentSummary(
        experiment=first["experiment"],
        classifier=first["classifier"],
        feature_set=first["feature_set"],
        protocol=first["protocol"],
        n_trials=len(trials),
        n_images=predictions["image_id"].nunique(),
        n_subjects=predictions["subject"].nunique(),
        test_accuracy=pooled_accuracy if folds else float(trials["test_accuracy"].mean()),
        test_accuracy_sd=float(trials["test_accuracy"].std(ddof=1)),
        interval=interval,
        interval_method=method,
        train_accuracy=float(trials["train_accuracy"].mean()),
        test_log_loss=_image_mean(trials, "test_log_loss")
        if folds
        else float(trials["test_log_loss"].mean()),
        train_log_loss=float(trials["train_log_loss"].mean()),
        macro_recall=metrics.macro_recall(counts)
        if folds
        else float(trials["test_macro_recall"].mean()),
        macro_f1=metrics.macro_f1(counts) if folds else float(trials["test_macro_f1"].mean()),
        test_subject_in_train=float(trials["test_subject_in_train"].mean()),
        confusion=counts,
        seconds=float(trials["seconds"].sum()),
        classes=tuple(np.array(EMOTIONS)[counts.sum(axis=1) > 0].tolist()),
        calibration_error=metrics.expected_calibration_error(
            predictions["label"].to_numpy(), np.stack(predictions["probabilities"].to_list())
        ),
        class_recalls=metrics.recalls(counts),
        class_recall_intervals=_recall_intervals(predictions),
        class_recall_method=f"Wilson's, over {independent_groups(predictions)[1]}",
    )


def independent_groups(predictions: pd.DataFrame) -> tuple["pd.Series[str]", str]:
    """What may be taken for independent, and its name: subjects, or images where one is unknown."""
    if predictions["subject"].notna().all():
        return predictions["subject"], "subjects"
    return predictions["image_id"], "images"


def _recall_intervals(predictions: pd.DataFrame) -> NDArray[np.float64]:
    """Wilson's interval of each class's recall, (8, 2); nan for classes that were not tested.

    It counts as many cases as the class has subjects: images of one are not independent, nor are
    the answers that several random trials give to one image. (A bootstrap would give an interval of
    no width to a small class that is all correct.)
    """
    groups, _ = independent_groups(predictions)
    correct = predictions["label"] == predictions["predicted"]
    intervals = np.full((len(EMOTIONS), 2), np.nan)
    for code in predictions["label"].unique():
        rows = predictions["label"] == code
        n = groups[rows].nunique()
        intervals[code] = metrics.wilson_interval(float(correct[rows].mean()), n)
    return intervals


def _image_mean(trials: pd.DataFrame, column: str) -> float:
    """Mean over images of a figure that each fold gives as its own mean."""
    return float(np.average(trials[column], weights=trials["n_test"]))


def _interval(
    trials: pd.DataFrame, predictions: pd.DataFrame, folds: bool
) -> tuple[tuple[float, float], str]:
    if folds:
        correct = (predictions["label"] == predictions["predicted"]).to_numpy()
        groups, name = independent_groups(predictions)
        drawn = groups.to_numpy(dtype=object)
        if correct.all() or not correct.any():  # whatever is drawn, the share is the same
            n = len(set(drawn))
            return metrics.wilson_interval(float(correct.mean()), n), f"Wilson's, over {name}"
        interval = metrics.subject_bootstrap_interval(correct, drawn, BOOTSTRAP_SEED)
        return interval, f"bootstrap over {name}"
    if len(trials) < 2:
        return (float("nan"), float("nan")), "none: a single trial"
    if trials["test_accuracy"].nunique() == 1:
        return (float("nan"), float("nan")), "none: all trials have the same accuracy"
    ratio = float((trials["n_test"] / trials["n_train"]).mean())
    interval = metrics.resampled_interval(trials["test_accuracy"].to_numpy(), ratio)
    return interval, "corrected resampled t over trials"


def figures_of(summary: ExperimentSummary) -> dict[str, Any]:
    """One experiment's figures with its protocol, for `run.json` and `--json`."""
    return {
        "experiment": summary.experiment,
        "classifier": summary.classifier,
        "feature_set": summary.feature_set,
        "protocol": summary.protocol,
        "trials": summary.n_trials,
        "images": summary.n_images,
        "subjects": summary.n_subjects,
        "test_accuracy": summary.test_accuracy,
        "test_accuracy_sd": _number(summary.test_accuracy_sd),
        "interval_95": [_number(bound) for bound in summary.interval],
        "interval_method": summary.interval_method,
        "train_accuracy": summary.train_accuracy,
        "test_log_loss": summary.test_log_loss,
        "train_log_loss": summary.train_log_loss,
        "macro_recall": summary.macro_recall,
        "macro_f1": summary.macro_f1,
        "test_subject_in_train": _number(summary.test_subject_in_train),
        "classes": list(summary.classes),
        "calibration_error": summary.calibration_error,
        "recall_by_class": _by_class(summary),
        "recall_interval_method": summary.class_recall_method,
    }


def _by_class(summary: ExperimentSummary) -> dict[str, dict[str, Any]]:
    """Recall of each tested class with its 95 % interval."""
    codes = {name: EMOTIONS.index(name) for name in summary.classes}
    return {
        name: {
            "recall": float(summary.class_recalls[code]),
            "interval_95": summary.class_recall_intervals[code].tolist(),
        }
        for name, code in codes.items()
    }


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return value if value == value else None
