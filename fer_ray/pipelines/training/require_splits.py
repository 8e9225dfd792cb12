"""Checks of a listing before a run: can the labelled images be split as the protocols require?"""

import numpy as np

from fer_ray.evaluation.experiments.samples import Samples, select_classes
from fer_ray.evaluation.protocols.splits import make_splits
from fer_ray.settings.root import Settings
from fer_ray.sources.datasets.listing import Listing

NO_SUBJECT_FOLDS = (
    "{count} labelled images have no subject, so there are no folds by subject, and people may be "
    "in training and test. Pass a CSV file with a subject column if you know who is in the images."
)


def require_splits(listing: Listing, settings: Settings) -> None:
    """Check, before any work begins, that each protocol of a run can split the labelled images.

    Images in which no face is found are left out later, so the splits may still turn out too small.

    Raises:
        UserError: There are too few images, classes or subjects, or subjects are unknown.
    """
    labelled = [row for row in listing.table.to_pylist() if row["label"] is not None]
    samples = Samples(
        [row["image_id"] for row in labelled],
        [row["subject"] for row in labelled],
        np.array([row["label"] for row in labelled], dtype=np.int8),
        np.empty((len(labelled), 0)),
    )
    for trials in settings.protocol_settings(subjects_known(listing.summary)):
        if trials.folds is None:
            chosen = select_classes(samples, trials.classes)
            make_splits(trials, chosen.labels, chosen.subjects, chosen.image_ids)


def subjects_known(data: dict[str, object]) -> bool:
    """Whether every labelled image of a listing (`data` of `extract.json`) has a subject."""
    return not data.get("without_subject")
