"""The typical and the doubtful image of each class."""

from dataclasses import replace

import pandas as pd

from fer_ray.report.figures.landmark_plots import FaceSource
from fer_ray.report.sections.class_examples import ClassExamples, class_examples
from fer_ray.report.sections.confusion_tables import Faces
from tests.evaluation.simulated_experiments import FOLDS, LINEAR, experiment


def examples_of(predictions: pd.DataFrame) -> list[ClassExamples]:
    item = replace(experiment(LINEAR, FOLDS, 1.0), predictions=predictions)
    ids = predictions["image_id"]
    frames = pd.DataFrame({"image_id": ids, "path": ids})
    return class_examples(item, frames, Faces(frames, FaceSource(None, False, 350)))


def test_image_is_not_both_typical_and_doubtful() -> None:
    predictions = experiment(LINEAR, FOLDS, 1.0).predictions  # all equally probable
    for example in examples_of(predictions):
        assert example.typical
        assert example.doubtful
        assert example.typical.path != example.doubtful.path


def test_class_of_a_single_image() -> None:
    predictions = experiment(LINEAR, FOLDS, 1.0).predictions.iloc[:8]  # one of each class
    examples = examples_of(predictions)
    assert [example.doubtful for example in examples] == [None] * 8
    assert examples[0].typical
    assert examples[0].typical.path == "0-0"
