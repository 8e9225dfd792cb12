"""The last lines of `fer-ray predict`: the evaluation, and the files that were written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_ray.cli.output.experiment_table import format_known
from fer_ray.evaluation.answers import (
    ABSTAINED_SHARE,
    SET_SIZE,
    UNUSUAL_P,
    UNUSUAL_SHARE,
    answer_figures,
)
from fer_ray.storage.run_folder import PredictionFolder


def prediction_lines(record: dict[str, Any], out: Path | None) -> Iterator[str]:
    """Yield the evaluation next to the figures of training, then each file that exists."""
    if crowded := record.get("images_with_other_faces"):
        yield (
            f"Images with faces that have no row: {crowded} (column other_faces). Pass --faces all "
            "to get a row for each face."
        )
    yield from _answer_lines(record)
    evaluation = record["evaluation"]
    if evaluation is None:
        yield "No image is labelled, so the predictions are not evaluated."
    else:
        yield _evaluated_images(evaluation)
        if evaluation["figures"] is not None:
            yield _figures_here(evaluation["figures"])
            yield _figures_of_training(record["bundle"]["evidence"])
    if out is None:
        return
    folder = PredictionFolder(out)
    files = {"rows": folder.predictions, "record": folder.record,
             "report": folder.report / "index.html", "sheet": folder.sheet}  # fmt: skip
    for name, path in files.items():
        if path.exists():
            yield f"{name}: {path}"


def _answer_lines(record: dict[str, Any]) -> Iterator[str]:
    """Yield how certain the model is, if it has predicted any face."""
    if figures := answer_figures(record["answers"]):
        yield (
            f"Abstained: {figures[ABSTAINED_SHARE]:.0%} of the faces. Prediction sets: "
            f"{figures[SET_SIZE]:.2f} classes on average. Unusual faces: "
            f"{figures[UNUSUAL_SHARE]:.0%} ({UNUSUAL_P:.0%} expected for images like the training "
            "images)."
        )


def _evaluated_images(evaluation: dict[str, Any]) -> str:
    text = f"{evaluation['answered']} of {evaluation['judged']} labelled images have a face"
    if left_out := evaluation["labelled"] - evaluation["judged"]:
        text += (
            f"; {left_out} more were left out: the model was trained on them, does not know their "
            "class, or predicted several faces in them"
        )
    return f"{text}."


def _figures_here(figures: dict[str, Any]) -> str:
    intervals = figures["intervals_95"]
    accuracy = _with_interval(figures["accuracy"], intervals["accuracy"])
    recall = _with_interval(figures["macro_recall"], intervals["macro_recall"])
    return (
        f"On these images: accuracy {accuracy}, macro recall {recall}, log loss "
        f"{figures['log_loss']:.3f}; always predicting the majority class: "
        f"{figures['majority_class_share']:.3f}"
    )


def _figures_of_training(evidence: dict[str, Any]) -> str:
    accuracy = _with_interval(evidence["test_accuracy"], evidence["interval_95"])
    return (
        f"In training ({evidence['data']}, {evidence['protocol']}): accuracy {accuracy}, macro "
        f"recall {evidence['macro_recall']:.3f}, log loss {evidence['test_log_loss']:.3f}"
    )


def _with_interval(value: float, interval: list[float | None]) -> str:
    return f"{value:.3f}{format_known(' (95% CI {:.3f}–{:.3f})', *interval)}"
