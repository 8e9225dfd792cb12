"""Rows of the tables about experiments, trials, networks and timings, as formatted text."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup
from fer_ray.evaluation.experiments.experiment_labels import describe_splits
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.evaluation.experiments.summary import ExperimentSummary, is_folds
from fer_ray.report.text import formatting
from fer_ray.report.text.verdict import paired_difference
from fer_ray.vocabulary import EMOTIONS, Origin

Rows = list[tuple[str, ...]]

MAX_CONFUSIONS = 6

EXPERIMENT_HEADS = (
    "Experiment",
    "Accuracy, 95% interval",
    "Difference to best, points, paired 95% interval",
    "Subject overlap",
    "Macro recall",
    "Macro F1",
    "Majority class",
    "Log loss, test",
    "Calibration error, by chance",
)
LATE_COHORT_HEADS = (
    "Experiment",
    "Contempt images",
    "Recall",
    "Precision",
    "False-positive rate, late cohort",
    "False-positive rate, earlier subjects",
)
LATE_SHARES = ("recall", "precision", "called_within", "called_before")
ORIGINS = {
    Origin.IMAGENET: "ImageNet, as published by Keras",
    Origin.EMBEDDED: "bundled with face_recognition_models",
    Origin.FILE: "a file of the user",
    Origin.UNTRAINED: "untrained: no results are computed",
}


def experiment_rows(group: ExperimentGroup) -> list[tuple[str | tuple[str, ...], ...]]:
    """One row per experiment of a group, best first, with the difference to the best one."""
    return [
        (
            (item.label, item.summary.experiment),
            (_accuracy(item.summary), formatting.interval(item.summary.interval)),
            _difference_to_best(group.best, item),
            formatting.percent(item.summary.test_subject_in_train),
            formatting.percent(item.summary.macro_recall),
            formatting.percent(item.summary.macro_f1),
            formatting.percent(item.majority_share),
            formatting.loss(item.summary.test_log_loss),
            _calibration(item.summary),
        )
        for item in group.models
    ]


def _accuracy(summary: ExperimentSummary) -> str:
    """Mean accuracy, with its standard deviation over random trials.

    Predictions of folds are pooled, and folds differ in size, so their spread is not shown.
    """
    if is_folds(summary.protocol):
        return formatting.percent(summary.test_accuracy)
    return formatting.with_sd(summary.test_accuracy, summary.test_accuracy_sd)


def _calibration(summary: ExperimentSummary) -> tuple[str, ...]:
    """The calibration error and, for folds, that of a perfectly calibrated model."""
    error = formatting.percent(summary.calibration_error)
    if not is_folds(summary.protocol):
        return (error,)
    return error, formatting.percent(summary.chance_calibration_error)


def _difference_to_best(best: ExperimentResults, item: ExperimentResults) -> tuple[str, ...]:
    """Accuracy of the best experiment minus that of `item`, in points, and its interval."""
    if item is best:
        return ("best",)
    paired = paired_difference(best, item)
    gap = best.summary.test_accuracy - item.summary.test_accuracy
    ends = formatting.signed_interval(paired.interval) if paired else formatting.NO_INTERVAL
    return formatting.plain_points(gap), ends


def late_cohort_rows(groups: Sequence[ExperimentGroup], cohorts: dict[str, dict[str, Any]]) -> Rows:
    """Predictions of contempt among CK+'s late subjects, one row per experiment.

    Args:
        groups: All experiments.
        cohorts: Records of `late_cohort` by the names of their experiments.
    """
    return [
        (
            f"{item.label}, {group.split}",
            str(late["contempt_images"]),
            *(
                "–" if late[share] is None else formatting.percent(late[share])
                for share in LATE_SHARES
            ),
        )
        for group in groups
        for item in group.models
        if (late := cohorts.get(item.summary.experiment)) is not None
    ]


def recall_rows(models: Sequence[ExperimentResults]) -> Rows:
    """One row per tested class: its recall with interval in each experiment."""
    tested = [EMOTIONS.index(name) for name in models[0].summary.classes]
    return [(EMOTIONS[code], *(_recall(item.summary, code) for item in models)) for code in tested]


def _recall(summary: ExperimentSummary, code: int) -> str:
    low, high = summary.class_recall_intervals[code]
    return f"{formatting.percent(summary.class_recalls[code])} ({formatting.interval((low, high))})"


def trial_rows(experiment: ExperimentResults) -> Rows:
    """One row per trial: number, sizes, accuracies, log losses, subject overlap."""
    return [
        (
            str(row["trial"]),
            str(row["n_train"]),
            str(row["n_test"]),
            formatting.percent(row["train_accuracy"]),
            formatting.percent(row["test_accuracy"]),
            formatting.loss(row["train_log_loss"]),
            formatting.loss(row["test_log_loss"]),
            formatting.percent(row["test_subject_in_train"]),
        )
        for row in experiment.trials.to_dict("records")
    ]


def all_trials_row(summary: ExperimentSummary) -> tuple[str, ...]:
    """The last row of the table of `trial_rows`: the figures over all trials or folds."""
    return (
        "All",
        "",
        "",
        formatting.percent(summary.train_accuracy),
        formatting.with_sd(summary.test_accuracy, summary.test_accuracy_sd),
        formatting.loss(summary.train_log_loss),
        formatting.loss(summary.test_log_loss),
        formatting.percent(summary.test_subject_in_train),
    )


def confusion_rows(experiment: ExperimentResults) -> Rows:
    """The most frequent confusions over all trials: classes, count, share of the true class."""
    counts = experiment.summary.confusion
    shares = metrics.row_normalised(counts)
    pairs = [(true, guess) for true, guess in np.argwhere(counts > 0).tolist() if true != guess]
    pairs.sort(key=lambda pair: (-counts[pair], pair))
    return [
        (
            f"{EMOTIONS[true]} → {EMOTIONS[guess]}",
            str(counts[true, guess]),
            formatting.percent(float(shares[true, guess])),
        )
        for true, guess in pairs[:MAX_CONFUSIONS]
    ]


def backbone_rows(run: RunResults) -> Rows:
    """The networks of a run and the origin of their weights."""
    rows: Rows = [
        (name, ORIGINS[record["weights"]["origin"]], record["weights"]["sha256"][:12] + "…",
         record["preprocessing"], f"{record['numbers']}")
        for name, record in run.backbones.items()
    ]  # fmt: skip
    return rows + [(name, "weights not available", "–", "–", "–")
                   for name in run.absent if name not in run.backbones]  # fmt: skip


def timing_rows(run: RunResults) -> Rows:
    """Steps of the run with their duration and a remark."""
    timings = run.extract["timings"]
    rows: Rows = [
        ("Listing of the source", formatting.duration(timings["list_seconds"]), ""),
        (
            "Decoding, crops, landmarks, features",
            formatting.duration(timings["extract_seconds"]),
            f"{timings['images_per_second']:.1f} images/s",
        ),
    ]
    for name, record in run.backbones.items():
        if "seconds" in record:
            images = f"{record['rows_done']} images, including the start of workers"
            rows.append((f"Features of {name}", formatting.duration(record["seconds"]), images))
    if "seconds" in run.execution:
        workers = run.execution.get("workers")
        remark = f"{workers} worker{'' if workers == 1 else 's'}" if workers else ""
        seconds = formatting.duration(run.execution["seconds"])
        rows.append(("Trials of the last command", seconds, remark))
    for item in run.experiments:
        name = f"{item.label}: {describe_splits(item.summary)}"
        rows.append((name, formatting.duration(item.summary.seconds), "all trials"))
    return rows
