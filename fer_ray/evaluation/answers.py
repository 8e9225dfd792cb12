"""How certain a model is of its predictions: abstentions, prediction sets and unusual faces."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.vocabulary import ABSTAINED

if TYPE_CHECKING:
    import pandas as pd

UNUSUAL_P = 0.05  # a face is unusual if no more than this share of training faces is as far away

# Names of the figures of `answer_figures`.
FACE_FOUND = "face found"  # share of the images with a face
ABSTAINED_SHARE, UNUSUAL_SHARE, SET_SIZE = "abstained", "unusual face", "classes per set"


def count_answers(rows: pa.Table) -> Counter[str]:
    """Count faces, abstentions, classes in prediction sets and unusual faces.

    Args:
        rows: Rows with `schemas.prediction_fields`; those without a prediction are ignored.

    Returns:
        Counts that can be added to those of other rows; empty without predictions.
    """
    rows = rows.filter(pc.is_valid(rows["predicted"]))
    if not rows.num_rows:
        return Counter()
    return Counter(
        {
            "faces": rows.num_rows,
            "abstained": _count(pc.equal(rows["answer"], ABSTAINED)),
            "set_classes": _count(pc.list_value_length(rows["prediction_set"])),
            "unusual": _count(pc.less_equal(rows["ood_p_value"], UNUSUAL_P)),
        }
    )


def _count(values: pa.ChunkedArray) -> int:
    return int(pc.sum(values).as_py() or 0)


def answer_figures(counts: Mapping[str, int]) -> dict[str, float]:
    """Compute the shares of abstentions and of unusual faces, and the mean size of a set.

    Args:
        counts: From `count_answers`.

    Returns:
        The figures by name; empty without faces.
    """
    faces = counts.get("faces", 0)
    if not faces:
        return {}
    return {
        ABSTAINED_SHARE: counts.get("abstained", 0) / faces,
        UNUSUAL_SHARE: counts.get("unusual", 0) / faces,
        SET_SIZE: counts.get("set_classes", 0) / faces,
    }


def evaluate_answers(rows: "pd.DataFrame") -> dict[str, Any]:
    """Evaluate prediction sets and abstentions on labelled images.

    Args:
        rows: `emotion` and `schemas.prediction_fields`, one row per image. At least one
            has a prediction; those without are ignored.

    Returns:
        `set_coverage`, the share of sets that contain the label; `answered`, the number of images
        without an abstention, and `answered_accuracy` on them, None if there are none.
    """
    rows = rows[rows["predicted"].notna()]
    pairs = zip(rows["emotion"], rows["prediction_set"], strict=True)
    covered = [emotion in classes for emotion, classes in pairs]
    answered = rows[rows["answer"] != ABSTAINED]
    correct = (answered["answer"] == answered["emotion"]).mean() if len(answered) else None
    return {
        "set_coverage": float(np.mean(covered)),
        "answered": len(answered),
        "answered_accuracy": correct if correct is None else float(correct),
    }
