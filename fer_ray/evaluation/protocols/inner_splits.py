"""Splits of a training part, for choices and calibration within it."""

import threading
import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.splits import Split

CALIBRATION_FOLDS = 5
_filters = threading.Lock()  # of warnings, which all threads share


def require_subjects(samples: Samples, splits: list[Split]) -> None:
    """Check that each training part can itself be split by subject (`inner_folds`).

    Raises:
        UserError: A training part has a single subject.
    """
    for split in splits:
        if len(set(_subjects(samples, split.train))) < 2:
            raise UserError(
                "Selection within a training part needs two or more subjects in it, and one "
                "training part has a single subject. Add subjects, or use another protocol."
            )


def _subjects(samples: Samples, rows: NDArray[np.int64]) -> list[str]:
    """The subject of each row; an image of unknown subject counts as a separate subject."""
    return [samples.subjects[row] or f"image {row}" for row in rows]


def inner_folds(samples: Samples, train: NDArray[np.int64], n_folds: int, seed: int) -> list[Split]:
    """Split a training part into folds that share no subject and have similar class shares.

    Args:
        samples: Labels and subjects.
        train: Indices of the training part (n,).
        n_folds: Number of folds, reduced to the number of subjects, or of images of the largest
            class, if there are fewer. An image of unknown subject counts as a separate subject.
        seed: Seed of the shuffling.

    Returns:
        Folds as positions within `train`.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # slow to import

    subjects = _subjects(samples, train)
    largest = int(np.bincount(samples.labels[train]).max())
    folds = StratifiedGroupKFold(
        min(n_folds, len(set(subjects)), largest), shuffle=True, random_state=seed % 2**32
    )
    with _filters, warnings.catch_warnings():
        # scikit-learn warns of classes with fewer images than folds; `sample_warnings` does, too.
        warnings.simplefilter("ignore", UserWarning)
        return [Split(*pair) for pair in folds.split(train, samples.labels[train], subjects)]


def calibration_folds(samples: Samples, train: NDArray[np.int64]) -> tuple[list[Split], bool]:
    """Split a training part into folds, to score each of its images by a model without it.

    The folds share no subject, so that the scores are those of new people. If that leaves a single
    class to train on in every fold, the folds are of images instead.

    Args:
        samples: Labels and subjects.
        train: Indices of the training part (n,), with two or more images of each class.

    Returns:
        Folds as positions within `train`, those with a single class to train on left out, and
        whether they share no subject.
    """
    if len(set(_subjects(samples, train))) > 1:
        by_subject = inner_folds(samples, train, CALIBRATION_FOLDS, seed=0)
        labels = samples.labels[train]
        if trainable := [fold for fold in by_subject if len(set(labels[fold.train])) > 1]:
            return trainable, True
    alone = replace(samples, subjects=[None] * len(samples.subjects))
    return inner_folds(alone, train, CALIBRATION_FOLDS, seed=0), False
