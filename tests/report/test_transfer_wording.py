from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fer_ray.models.bundles.bundle import read_bundle
from fer_ray.report.text.transfer_wording import Transfer, headline

NAMES = ("neutral", "happy")


def transfer(
    kept_bundle: Path, accuracy: tuple[float, float], recall: float, span: tuple[float, float]
) -> Transfer:
    """A model with accuracy .80 (.75–.85) and macro recall .70 in training, and these figures."""
    evidence = read_bundle(kept_bundle).manifest.evidence
    recalls = next(iter(evidence.recall_by_class.values())).model_copy(update={"recall": 0.7})
    evidence = evidence.model_copy(
        update={"interval_95": (0.75, 0.85), "recall_by_class": dict.fromkeys(NAMES, recalls)}
    )
    figures: dict[str, Any] = {
        "accuracy": sum(accuracy) / 2,
        "intervals_95": {"accuracy": accuracy, "macro_recall": span},
        "recall_by_class": {name: {"recall": recall} for name in NAMES},
    }
    nothing: Any = SimpleNamespace()
    return Transfer(nothing, nothing, evidence, {"figures": figures})


@pytest.mark.parametrize(
    ("accuracy", "recall", "span", "expected"),
    [
        ((0.4, 0.5), 0.4, (0.3, 0.5), "Worse on these images"),
        ((0.6, 0.7), 0.7, (0.6, 0.8), "Lower accuracy than on the training data"),
        ((0.9, 0.95), 0.9, (0.85, 0.95), "Better on these images"),
        ((0.9, 0.95), 0.6, (0.55, 0.65), "Higher accuracy than on the training data"),
        ((0.7, 0.8), 0.7, (0.6, 0.8), "No clear difference"),
    ],
)
def test_headline_needs_accuracy_and_macro_recall(
    kept_bundle: Path,
    accuracy: tuple[float, float],
    recall: float,
    span: tuple[float, float],
    expected: str,
) -> None:
    assert headline(transfer(kept_bundle, accuracy, recall, span)).startswith(expected)
