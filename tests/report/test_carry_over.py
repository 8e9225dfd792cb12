from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fer_ray.models.bundles.bundle import read_bundle
from fer_ray.report.text.transfer_wording import Case, headline

NAMES = ("neutral", "happy")


def case(
    kept_bundle: Path, accuracy: tuple[float, float], recall: float, span: tuple[float, float]
) -> Case:
    """Trained to .80 (.75–.85) with a mean recall of .70; here the given interval and recall."""
    evidence = read_bundle(kept_bundle).manifest.evidence
    one = next(iter(evidence.recall_by_class.values())).model_copy(update={"recall": 0.7})
    evidence = evidence.model_copy(
        update={"interval_95": (0.75, 0.85), "recall_by_class": dict.fromkeys(NAMES, one)}
    )
    figures: dict[str, Any] = {
        "accuracy": sum(accuracy) / 2,
        "intervals_95": {"accuracy": accuracy, "macro_recall": span},
        "recall_by_class": {name: {"recall": recall} for name in NAMES},
    }
    nothing: Any = SimpleNamespace()
    return Case(nothing, nothing, evidence, {"figures": figures})


@pytest.mark.parametrize(
    ("accuracy", "recall", "span", "expected"),
    [
        ((0.4, 0.5), 0.4, (0.3, 0.5), "Worse on these images"),
        ((0.6, 0.7), 0.7, (0.6, 0.8), "Less accurate, though not by mean recall,"),
        ((0.9, 0.95), 0.9, (0.85, 0.95), "Better on these images"),
        ((0.9, 0.95), 0.6, (0.55, 0.65), "More accurate, though not by mean recall,"),
        ((0.7, 0.8), 0.7, (0.6, 0.8), "No clear difference"),
    ],
)
def test_the_headline_needs_both_accuracy_and_mean_recall(
    kept_bundle: Path,
    accuracy: tuple[float, float],
    recall: float,
    span: tuple[float, float],
    expected: str,
) -> None:
    assert headline(case(kept_bundle, accuracy, recall, span)).startswith(expected)
