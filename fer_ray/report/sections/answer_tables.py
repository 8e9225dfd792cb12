"""Rows of tables about abstentions, prediction sets and unusual faces."""

from typing import Any

from fer_ray.evaluation.answers import (
    ABSTAINED_SHARE,
    SET_SIZE,
    UNUSUAL_P,
    UNUSUAL_SHARE,
    answer_figures,
)
from fer_ray.models.bundles.bundle_manifest import Confidence
from fer_ray.report.sections.experiment_tables import Rows
from fer_ray.report.text import formatting

UNKNOWN = "–"


def confidence_rows(record: dict[str, Any]) -> Rows:
    """Each figure on this source, and on the training images that the model was calibrated on.

    Args:
        record: `predict.json` of labelled images.
    """
    figures = answer_figures(record["answers"])
    trained = Confidence.model_validate(record["bundle"]["confidence"])
    evaluated = record["evaluation"]["figures"]["answers"]
    accuracy = evaluated["answered_accuracy"]
    by_set = record["abstain_below"] is None
    return [
        ("Abstained", formatting.percent(figures[ABSTAINED_SHARE]),
         formatting.percent(trained.abstained) if by_set else UNKNOWN),
        ("Classes per prediction set", f"{figures[SET_SIZE]:.2f}", f"{trained.set_size:.2f}"),
        (f"Unusual faces (at most {UNUSUAL_P:.0%} of the training faces are as unusual)",
         formatting.percent(figures[UNUSUAL_SHARE]), formatting.percent(UNUSUAL_P)),
        ("Prediction sets that contain the label", formatting.percent(evaluated["set_coverage"]),
         formatting.percent(trained.set_coverage)),
        ("Accuracy without abstentions",
         UNKNOWN if accuracy is None else formatting.percent(accuracy), UNKNOWN),
    ]  # fmt: skip
