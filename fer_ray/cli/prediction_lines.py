"""What `fer-ray predict` says of its answers: how good they are, and what it wrote."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_ray.cli.experiment_table import number

WRITTEN = (("rows", "predictions"), ("record", "predict.json"), ("report", "report/index.html"),
           ("sheet", "sheet.png"))  # fmt: skip


def lines(record: dict[str, Any], out: Path) -> Iterator[str]:
    """The evaluation beside the figures of training, then every file that is there."""
    found = record["evaluation"]
    if found is None:
        yield "No image is labelled, so the answers are not evaluated."
    else:
        yield _judged(found)
        if found["figures"] is not None:
            yield _here(found["figures"])
            yield _there(record["bundle"]["evidence"])
    for what, name in WRITTEN:
        if (out / name).exists():
            yield f"{what}: {out / name}"


def _judged(found: dict[str, Any]) -> str:
    left_out = found["left_out_trained_on"] + sum(found["left_out_unknown_class"].values())
    told = f"{found['answered']} of {found['judged']} labelled images have a face"
    if left_out:
        told += f"; {left_out} more were left out (trained on, or of a class that is not known)"
    return f"{told}."


def _here(here: dict[str, Any]) -> str:
    ends = here["intervals_95"]
    return (
        f"Here: accuracy {_with_span(here['accuracy'], ends['accuracy'])}, mean recall "
        f"{_with_span(here['macro_recall'], ends['macro_recall'])}, log loss "
        f"{here['log_loss']:.3f}; always the commonest class: {here['commonest_class_share']:.3f}"
    )


def _there(there: dict[str, Any]) -> str:
    return (
        f"In training ({there['data']}, {there['protocol']}): accuracy "
        f"{_with_span(there['test_accuracy'], there['interval_95'])}, mean recall "
        f"{there['macro_recall']:.3f}, log loss {there['test_log_loss']:.3f}"
    )


def _with_span(value: float, ends: list[float | None]) -> str:
    return f"{value:.3f}{number(' (95 % {:.3f}–{:.3f})', *ends)}"
