"""The two recording cohorts of CK+, and how a model treats contempt within the later one.

All 18 contempt sequences of CK+ show subjects S138 and later, who were recorded later than the
others. A high recall of contempt may therefore mean that a model recognises the recording session
rather than the expression. Two rates show which: how often it predicts contempt for other
expressions of the late cohort, and how often for the earlier subjects.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from fer_ray.vocabulary import EMOTIONS

CONTEMPT = EMOTIONS.index("contempt")
FIRST_LATE_SUBJECT = "S138"
LABELLED_SEQUENCES = 327  # of CK+ (Lucey et al., CVPR 2010 workshops)


@dataclass(frozen=True)
class LateCohort:
    """Predictions of contempt among the subjects who were recorded late.

    Attributes:
        subjects: Number of tested subjects in the cohort.
        contempt_images: Number of their test images of contempt, over all trials.
        recall: Share of these images that are predicted as contempt.
        precision: Share of correct predictions of contempt within the cohort; NaN if there are no
            such predictions.
        called_within: Share of the cohort's other images that are predicted as contempt.
        called_before: The same share among the earlier subjects; NaN without images of them.
    """

    subjects: int
    contempt_images: int
    recall: float
    precision: float
    called_within: float
    called_before: float

    def to_record(self) -> dict[str, Any]:
        """Return the fields for JSON, with None in place of NaN."""
        return {name: None if v != v else v for name, v in asdict(self).items()}


def filter_subjects(predictions: pd.DataFrame, matches: Callable[[str], bool]) -> pd.DataFrame:
    """Select the predictions whose subject is known and satisfies `matches`."""
    subjects = predictions["subject"]
    selected = [isinstance(name, str) and matches(name) for name in subjects]
    return predictions[selected]


def late_cohort(predictions: pd.DataFrame) -> LateCohort | None:
    """Summarise predictions of contempt for subjects S138 and later.

    Args:
        predictions: Predictions of one experiment on a source in the layout of CK+, with a
            `subject` column.

    Returns:
        None unless these subjects, and no others, have images of contempt.
    """
    late = filter_subjects(predictions, lambda name: name >= FIRST_LATE_SUBJECT)
    early = filter_subjects(predictions, lambda name: name < FIRST_LATE_SUBJECT)
    called, is_contempt = late["predicted"] == CONTEMPT, late["label"] == CONTEMPT
    if not is_contempt.any() or (early["label"] == CONTEMPT).any():
        return None
    return LateCohort(
        subjects=late["subject"].nunique(),
        contempt_images=int(is_contempt.sum()),
        recall=float(called[is_contempt].mean()),
        precision=float(is_contempt[called].mean()),
        called_within=float(called[~is_contempt].mean()),
        called_before=float((early["predicted"][early["label"] != CONTEMPT] == CONTEMPT).mean()),
    )


def has_cohorts(data: dict[str, Any]) -> bool:
    """Return whether a source (`data` of extract.json) may contain CK+'s two cohorts."""
    return bool(data["layout"] == "ckplus" and not data["synthetic"])


def is_ckplus(data: dict[str, Any]) -> bool:
    """Return whether a source is CK+ itself and not another data set in its layout."""
    same_size = data.get("labelled_sequences") == LABELLED_SEQUENCES
    return has_cohorts(data) and same_size
