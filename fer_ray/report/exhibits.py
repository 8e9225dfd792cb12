"""Every figure of the report with its name, its caption's facts and its text alternative."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from fer_ray.evaluation import metrics
from fer_ray.evaluation.comparable import Group
from fer_ray.evaluation.results import ExperimentResults, RunResults
from fer_ray.evaluation.split_wording import split
from fer_ray.evaluation.summary import is_folds
from fer_ray.report.figures import counts
from fer_ray.report.figures.faces import (
    FaceSource,
    Row,
    landmarks_figure,
    landmarks_xy,
    misclassified_figure,
)
from fer_ray.report.figures.forest import DESK, PHONE, comparison
from fer_ray.report.figures.picture import Picture, picture
from fer_ray.report.text import wording
from fer_ray.vocabulary import EMOTIONS

SHOWCASE = ("happy", "surprise")  # expressions whose landmarks move most, in order of preference


def comparison_picture(run: RunResults, groups: Sequence[Group]) -> Picture:
    """All experiments at a glance."""
    facts = [
        f"{item.label}: accuracy {wording.percent(item.summary.test_accuracy)} "
        f"({wording.provenance(item.summary, run.data_name)}), "
        f"mean recall {wording.percent(item.summary.macro_recall)}"
        for group in groups
        for item in group.models
    ]
    alt = f"Accuracy with interval by experiment. {'; '.join(facts)}."
    drawn = [
        picture("comparison", alt, partial(comparison, groups, run.data_name, way))
        for way in (PHONE, DESK)
    ]
    return replace(drawn[0], wide=drawn[1])


def class_counts_picture(run: RunResults) -> Picture:
    """Images by class: selected, and usable."""
    by_emotion = run.data["selected_by_emotion"]
    selected = [int(by_emotion.get(name, 0)) for name in EMOTIONS]
    usable = [int((run.usable["emotion"] == name).sum()) for name in EMOTIONS]
    facts = ", ".join(
        f"{name} {used} of {total}"
        for name, used, total in zip(EMOTIONS, usable, selected, strict=True)
    )
    alt = f"Images by class, usable of selected: {facts}."
    return picture("class-counts", alt, partial(counts.class_counts, selected, usable))


def confusion_picture(run: RunResults, experiment: ExperimentResults) -> Picture:
    """The row-normalised confusion matrix of one experiment."""
    summary = experiment.summary
    recalls = metrics.recalls(summary.confusion)
    facts = ", ".join(
        f"{name} {wording.whole_percent(recall)}"
        for name, recall in zip(EMOTIONS, recalls, strict=True)
        if not np.isnan(recall)
    )
    alt = (
        f"Confusion matrix of {experiment.label} "
        f"({run.data_name}; {split(summary)}). Recall by class: {facts}. "
        f"{_commonest_slip(summary.confusion)}"
    )
    name = "confusion-" + re.sub(r"[^A-Za-z0-9.]+", "-", summary.experiment)
    return picture(name, alt, partial(counts.confusion, experiment, run.data_name))


def _commonest_slip(counts: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> str:
    slips = counts - np.diag(np.diagonal(counts))
    if not slips.any():
        return "No image was answered wrongly."
    true, guess = np.unravel_index(int(np.argmax(slips)), slips.shape)
    return f"The commonest slip: {EMOTIONS[true]} taken for {EMOTIONS[guess]}."


def test_labels_picture(experiment: ExperimentResults) -> Picture:
    """How the test images of the last trial spread over the classes."""
    last = int(experiment.trials["trial"].max())
    labels = experiment.predictions.loc[experiment.predictions["trial"] == last, "label"]
    totals = [int((labels == code).sum()) for code in range(len(EMOTIONS))]
    facts = ", ".join(f"{name} {count}" for name, count in zip(EMOTIONS, totals, strict=True))
    kind = "fold" if is_folds(experiment.summary.protocol) else "trial"
    alt = f"Test images by class in the last {kind}: {facts}."
    return picture("test-labels", alt, partial(counts.test_labels, totals))


def landmarks_pictures(run: RunResults, faces: FaceSource) -> list[Picture]:
    """Landmarks as a bare plot, and before it on the face where one may be and can be shown."""
    if run.usable.empty:
        return []
    row = _showcase(run)
    xy, face = landmarks_xy(row), faces.crop(row)
    emotion = row["emotion"] or "unlabelled"
    bare = picture(
        "landmarks",
        f"The 68 landmarks of {row['image_id']} ({emotion}) as a bare plot.",
        partial(landmarks_figure, xy, None),
    )
    if face is None:
        return [bare]
    alt = f"The face of {row['image_id']} ({emotion}) with its 68 landmarks drawn on it."
    return [picture("landmarks-face", alt, partial(landmarks_figure, xy, face)), bare]


def _showcase(run: RunResults) -> Row:
    """The first peak by image_id of the first emotion in `SHOWCASE` that has one."""
    rows: list[Row] = run.usable.to_dict("records")  # type: ignore[assignment]
    for emotion in SHOWCASE:
        for row in rows:
            if row["emotion"] == emotion:
                return row
    return rows[0]


def misclassified_picture(answer: Row, faces: FaceSource) -> Picture:
    """One wrongly answered image with its class probabilities."""
    face = faces.crop(answer)
    facts = ", ".join(
        f"{name} {wording.whole_percent(value)}"
        for name, value in zip(EMOTIONS, answer["probabilities"], strict=True)
    )
    alt = (
        f"{'Landmarks' if face is None else 'Face'} of {answer['image_id']}: "
        f"{answer['actual']}, taken for {answer['guess']}. Class probabilities: {facts}."
    )
    draw = partial(misclassified_figure, landmarks_xy(answer), face, answer)
    return picture("misclassified", alt, draw)
