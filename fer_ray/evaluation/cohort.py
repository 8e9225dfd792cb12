"""Contempt within the late cohort of CK+: does a model know the face, or the recording session?

All 18 contempt sequences of CK+ are of subjects S138 and later, who were recorded later than the
others. Their share of correct answers alone is therefore the ordinary recall of contempt; whether
it is worth anything shows in how often other faces of the same cohort are called contempt, beside
how often those of the earlier subjects are.
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
    """Contempt among the subjects who were recorded late.

    Attributes:
        subjects: Tested subjects of the cohort.
        contempt_images: Test images of contempt in it, over all trials.
        recall: Share of these that are called contempt.
        precision: Share of its images called contempt that are; nan where none is.
        called_within: Share of its other images that are called contempt.
        called_before: The same share among the earlier subjects; nan where there are none.
    """

    subjects: int
    contempt_images: int
    recall: float
    precision: float
    called_within: float
    called_before: float

    def record(self) -> dict[str, Any]:
        """As JSON knows it: None for nan."""
        return {name: None if v != v else v for name, v in asdict(self).items()}


def within_subjects(predictions: pd.DataFrame, belongs: Callable[[str], bool]) -> pd.DataFrame:
    """The predictions whose subject is known and of which `belongs` is true."""
    subjects = predictions["subject"]
    chosen = [isinstance(name, str) and belongs(name) for name in subjects]
    return predictions[chosen]


def late_cohort(predictions: pd.DataFrame) -> LateCohort | None:
    """Contempt within subjects S138 and later; None where they show none, or others do.

    Args:
        predictions: Of one experiment on a source laid out as CK+, with a `subject` column.
    """
    late = within_subjects(predictions, lambda name: name >= FIRST_LATE_SUBJECT)
    early = within_subjects(predictions, lambda name: name < FIRST_LATE_SUBJECT)
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
    """Whether a source (`data` of extract.json) may have CK+'s two cohorts of subjects."""
    return bool(data["layout"] == "ckplus" and not data["synthetic"])


def is_ckplus(data: dict[str, Any]) -> bool:
    """Whether a source (`data` of extract.json) is CK+ itself, and not only laid out as it."""
    same_size = data.get("labelled_sequences") == LABELLED_SEQUENCES
    return has_cohorts(data) and same_size
