import math
from typing import Any

import pandas as pd
import pytest

from fer_ray.evaluation.answers import evaluate

LABELS = ("neutral", "happy", "surprise")
EXPERIMENT = ("svm-linear-reference-random", "svm-linear", "reference")


def rows(*answers: tuple[str | None, str | None, float]) -> pd.DataFrame:
    """Predictions: label, answer, and the probability of the answer; the rest is shared evenly."""
    table: dict[str, list[Any]] = {name: [] for name in ("emotion", "predicted", "sha256")}
    table |= {f"p_{name}": [] for name in LABELS}
    for number, (emotion, predicted, p) in enumerate(answers):
        for name, value in zip(table, (emotion, predicted, f"hash {number}"), strict=False):
            table[name].append(value)
        for name in LABELS:
            table[f"p_{name}"].append(p if name == predicted else (1 - p) / 2)
    found = pd.DataFrame(table)
    found["image_id"], found["subject"] = found["sha256"], None
    return found


def test_figures_are_of_answered_images_and_coverage_stands_beside_them() -> None:
    found = evaluate(
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
    assert found is not None
    assert (found["labelled"], found["judged"], found["answered"]) == (4, 4, 3)
    assert found["coverage"] == 0.75
    assert found["classes_without_images"] == ["surprise"]
    figures = found["figures"]
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["accuracy_counting_no_face_as_wrong"] == 0.5
    assert figures["macro_recall"] == pytest.approx((1 + 0.5) / 2)
    losses = [-math.log(p) for p in (0.8, 0.2, 0.5)]
    assert figures["log_loss"] == pytest.approx(sum(losses) / 3)
    for name, (low, high) in figures["intervals_95"].items():
        assert low <= figures[name] <= high
    assert figures["recall_by_class"]["happy"]["images"] == 2


def test_what_the_model_was_trained_on_or_cannot_answer_is_left_out_and_counted() -> None:
    found = evaluate(
        rows(("happy", "happy", 0.9), ("fear", "happy", 0.9), ("neutral", "happy", 0.9)),
        LABELS,
        {"hash 0", "a hash of elsewhere"},
        EXPERIMENT,
    )
    assert found is not None
    assert found["left_out_trained_on"] == 1
    assert found["left_out_unknown_class"] == {"fear": 1}
    assert (found["judged"], found["figures"]["accuracy"]) == (1, 0.0)


def test_a_class_in_which_no_face_was_found_is_named() -> None:
    found = evaluate(
        rows(("happy", "happy", 0.9), ("surprise", None, 0.0)), LABELS, set(), EXPERIMENT
    )
    assert found is not None
    assert found["classes_without_answers"] == ["surprise"]
    assert found["classes_without_images"] == ["neutral"]


def test_without_labels_or_answers_there_are_no_figures() -> None:
    assert evaluate(rows((None, "happy", 0.9)), LABELS, set(), EXPERIMENT) is None
    found = evaluate(rows(("happy", None, 0.0)), LABELS, set(), EXPERIMENT)
    assert found is not None
    assert found["figures"] is None
    assert found["coverage"] == 0
    nothing = evaluate(rows(("fear", "happy", 0.9)), LABELS, set(), EXPERIMENT)
    assert nothing is not None
    assert nothing["coverage"] is None


def test_a_rare_class_that_is_never_right_does_not_raise_the_interval_when_it_is_not_drawn() -> (
    None
):
    often = [("happy", "happy", 0.9)] * 20 + [("neutral", "neutral", 0.9)] * 20
    found = evaluate(rows(*often, ("surprise", "happy", 0.9)), LABELS, set(), EXPERIMENT)
    assert found is not None
    figures = found["figures"]
    assert figures["macro_recall"] == pytest.approx(2 / 3)
    assert figures["intervals_95"]["macro_recall"] == pytest.approx([2 / 3, 2 / 3])
