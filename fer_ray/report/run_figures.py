"""The figures of a run's report, with their names and text alternatives."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.evaluation.experiments.summary import is_folds
from fer_ray.report.figures import class_charts
from fer_ray.report.figures.forest_plot import NARROW, WIDE, forest_plot
from fer_ray.report.figures.landmark_plots import (
    FaceSource,
    Row,
    landmarks_figure,
    landmarks_xy,
    misclassified_figure,
)
from fer_ray.report.figures.themed_picture import Picture, draw_picture, draw_png
from fer_ray.report.text import formatting
from fer_ray.vocabulary import EMOTIONS

SHOWCASE = ("happy", "surprise")  # expressions that move landmarks most, in order of preference
MAX_LEADING = 6  # experiments at the top of the page


def experiments_picture(run: RunResults, groups: Sequence[ExperimentGroup]) -> Picture:
    """The forest plot of all experiments, for narrow and wide screens."""
    alt = _accuracies(run, groups)
    narrow, wide = (
        draw_picture("comparison", alt, partial(forest_plot, groups, run.data_name, layout))
        for layout in (NARROW, WIDE)
    )
    return replace(narrow, wide=wide)


def _accuracies(run: RunResults, groups: Sequence[ExperimentGroup]) -> str:
    """The accuracies that a forest plot shows, as a text alternative."""
    facts = [
        f"{item.label}: accuracy {formatting.percent(item.summary.test_accuracy)} "
        f"({formatting.provenance(item.summary, run.data_name)}), "
        f"macro recall {formatting.percent(item.summary.macro_recall)}"
        for group in groups
        for item in group.models
    ]
    return f"Accuracy with interval by experiment. {'; '.join(facts)}."


def class_counts_picture(run: RunResults) -> Picture:
    """Selected and usable images by class."""
    by_emotion = run.data["selected_by_emotion"]
    selected = [int(by_emotion.get(name, 0)) for name in EMOTIONS]
    usable = [int((run.usable["emotion"] == name).sum()) for name in EMOTIONS]
    facts = ", ".join(
        f"{name} {used} of {total}"
        for name, used, total in zip(EMOTIONS, usable, selected, strict=True)
    )
    alt = f"Images by class, usable of selected: {facts}."
    return draw_picture("class-counts", alt, partial(class_charts.class_counts, selected, usable))


def leading_models_picture(run: RunResults, group: ExperimentGroup) -> Picture:
    """The forest plot of the best experiments of a group, for the top of the page."""
    leading = replace(group, models=group.models[:MAX_LEADING])
    draw = partial(forest_plot, [leading], run.data_name, NARROW)
    return draw_picture("leading-models", _accuracies(run, [leading]), draw)


def confusion_files(run: RunResults) -> dict[str, bytes]:
    """The confusion matrix of each experiment as PNG, by file name; the page has tables instead."""
    return {
        confusion_name(item): draw_png(partial(class_charts.confusion, item, run.data_name))
        for item in run.experiments
    }


def confusion_name(experiment: ExperimentResults) -> str:
    """The file name of an experiment's confusion matrix, without its extension."""
    return "confusion-" + re.sub(r"[^A-Za-z0-9.]+", "-", experiment.name)


def test_labels_picture(experiment: ExperimentResults) -> Picture:
    """Test images by class in the last trial of an experiment."""
    last = int(experiment.trials["trial"].max())
    labels = experiment.predictions.loc[experiment.predictions["trial"] == last, "label"]
    totals = [int((labels == code).sum()) for code in range(len(EMOTIONS))]
    facts = ", ".join(f"{name} {count}" for name, count in zip(EMOTIONS, totals, strict=True))
    kind = "fold" if is_folds(experiment.summary.protocol) else "trial"
    alt = f"Test images by class in the last {kind}: {facts}."
    return draw_picture("test-labels", alt, partial(class_charts.test_labels, totals))


def landmarks_pictures(run: RunResults, faces: FaceSource) -> list[Picture]:
    """Landmarks on a face, if it may and can be shown, then landmarks alone."""
    if run.usable.empty:
        return []
    row = _select_showcase(run)
    xy, face = landmarks_xy(row), faces.crop(row)
    emotion = row["emotion"] or "unlabelled"
    alone = draw_picture(
        "landmarks",
        f"The 68 landmarks of {row['image_id']} ({emotion}); no image is shown.",
        partial(landmarks_figure, xy, None),
    )
    if face is None:
        return [alone]
    alt = f"The face of {row['image_id']} ({emotion}) with its 68 landmarks."
    return [draw_picture("landmarks-face", alt, partial(landmarks_figure, xy, face)), alone]


def _select_showcase(run: RunResults) -> Row:
    """The first image of the first emotion in `SHOWCASE` with images; otherwise the first image."""
    rows: list[Row] = run.usable.to_dict("records")  # type: ignore[assignment]
    for emotion in SHOWCASE:
        for row in rows:
            if row["emotion"] == emotion:
                return row
    return rows[0]


def misclassified_picture(prediction: Row, faces: FaceSource) -> Picture:
    """A misclassified image with its class probabilities."""
    face = faces.crop(prediction)
    facts = ", ".join(
        f"{name} {formatting.whole_percent(value)}"
        for name, value in zip(EMOTIONS, prediction["probabilities"], strict=True)
    )
    alt = (
        f"{'Landmarks' if face is None else 'Face'} of {prediction['image_id']}: "
        f"{prediction['actual']}, predicted as {prediction['guess']}. "
        f"Class probabilities: {facts}."
    )
    draw = partial(misclassified_figure, landmarks_xy(prediction), face, prediction)
    return draw_picture("misclassified", alt, draw)
