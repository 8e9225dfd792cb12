import math
from typing import Any

import pandas as pd
import pytest

from fer_ray.evaluation.labelled_predictions import evaluate_predictions
from fer_ray.vocabulary import ABSTAINED

LABELS = ("neutral", "happy", "surprise")
EXPERIMENT = ("svm-linear-reference-random", "svm-linear", "reference")


def rows(*predictions: tuple[str | None, str | None, float]) -> pd.DataFrame:
    """Rows of label, prediction and its probability; the others share the rest evenly."""
    table: dict[str, list[Any]] = {name: [] for name in ("emotion", "predicted", "sha256")}
    table |= {f"p_{name}": [] for name in LABELS}
    for number, (emotion, predicted, p) in enumerate(predictions):
        for name, value in zip(table, (emotion, predicted, f"hash {number}"), strict=False):
            table[name].append(value)
        for name in LABELS:
            table[f"p_{name}"].append(p if name == predicted else (1 - p) / 2)
    frame = pd.DataFrame(table)
    frame["image_id"], frame["subject"] = frame["sha256"], None
    frame["faces"] = frame["predicted"].notna().astype(int)
    sure = frame[[f"p_{name}" for name in LABELS]].max(axis=1) > 0.7
    frame["answer"] = frame["predicted"].where(sure, ABSTAINED)
    frame["prediction_set"] = [
        [name] if certain else ["neutral", "happy"]
        for name, certain in zip(frame["predicted"], sure, strict=True)
    ]
    return frame


def test_figures_and_coverage() -> None:
    evaluation = evaluate_predictions(
        rows(
            ("happy", "happy", 0.8),
            ("happy", "neutral", 0.6),
            ("neutral", "neutral", 0.5),
            ("neutral", None, 0.0),
            (None, "happy", 0.9),
        ),
        LABELS,
        set(),
        EXPERIMENT,
    )
    assert evaluation is not None
    assert (evaluation["labelled"], evaluation["judged"], evaluation["answered"]) == (4, 4, 3)
    assert evaluation["coverage"] == 0.75
    assert evaluation["classes_without_images"] == ["surprise"]
    figures = evaluation["figures"]
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["accuracy_counting_no_face_as_wrong"] == 0.5
    assert figures["macro_recall"] == pytest.approx((1 + 0.5) / 2)
    losses = [-math.log(p) for p in (0.8, 0.2, 0.5)]
    assert figures["log_loss"] == pytest.approx(sum(losses) / 3)
    for name, (low, high) in figures["intervals_95"].items():
        assert low <= figures[name] <= high
    assert figures["recall_by_class"]["happy"]["images"] == 2
    answers = {"set_coverage": 1.0, "answered": 1, "answered_accuracy": 1.0}
    assert figures["answers"] == answers


def test_excluded_images_are_counted() -> None:
    evaluation = evaluate_predictions(
        rows(("happy", "happy", 0.9), ("fear", "happy", 0.9), ("neutral", "happy", 0.9)),
        LABELS,
        {"hash 0", "another hash"},
        EXPERIMENT,
    )
    assert evaluation is not None
    assert evaluation["left_out_trained_on"] == 1
    assert evaluation["left_out_unknown_class"] == {"fear": 1}
    assert (evaluation["judged"], evaluation["figures"]["accuracy"]) == (1, 0.0)


def test_images_with_several_faces_are_excluded() -> None:
    labelled = rows(("happy", "happy", 0.9), ("happy", "neutral", 0.9), ("neutral", None, 0.0))
    labelled.loc[1, "faces"] = 2
    evaluation = evaluate_predictions(labelled, LABELS, set(), EXPERIMENT)
    assert evaluation is not None
    assert (evaluation["labelled"], evaluation["left_out_several_faces"]) == (3, 1)
    assert (evaluation["judged"], evaluation["answered"]) == (2, 1)
    assert evaluation["figures"]["accuracy"] == 1


def test_classes_without_faces() -> None:
    evaluation = evaluate_predictions(
        rows(("happy", "happy", 0.9), ("surprise", None, 0.0)), LABELS, set(), EXPERIMENT
    )
    assert evaluation is not None
    assert evaluation["classes_without_answers"] == ["surprise"]
    assert evaluation["classes_without_images"] == ["neutral"]


def test_no_figures_without_labels_or_predictions() -> None:
    assert evaluate_predictions(rows((None, "happy", 0.9)), LABELS, set(), EXPERIMENT) is None
    evaluation = evaluate_predictions(rows(("happy", None, 0.0)), LABELS, set(), EXPERIMENT)
    assert evaluation is not None
    assert evaluation["figures"] is None
    assert evaluation["coverage"] == 0
    nothing = evaluate_predictions(rows(("fear", "happy", 0.9)), LABELS, set(), EXPERIMENT)
    assert nothing is not None
    assert nothing["coverage"] is None


def test_bootstrap_samples_without_a_rare_class() -> None:
    frequent = [("happy", "happy", 0.9)] * 20 + [("neutral", "neutral", 0.9)] * 20
    evaluation = evaluate_predictions(
        rows(*frequent, ("surprise", "happy", 0.9)), LABELS, set(), EXPERIMENT
    )
    assert evaluation is not None
    figures = evaluation["figures"]
    assert figures["macro_recall"] == pytest.approx(2 / 3)
    assert figures["intervals_95"]["macro_recall"] == pytest.approx([2 / 3, 2 / 3])
