"""Protocols: which images train and which test, as pure functions of labels, subjects and seed."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from fer_ray.errors import UserError
from fer_ray.evaluation.samples import Samples
from fer_ray.settings.training import TrialSettings

N_SUBJECT_FOLDS = 10


@dataclass(frozen=True)
class Split:
    """Indices of the training and the test images of one trial or fold."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def make_splits(
    settings: TrialSettings, labels: NDArray[np.int8], subjects: list[str | None]
) -> list[Split]:
    """All splits of a protocol.

    Args:
        settings: Protocol, shares, number of trials and seed.
        labels: Class codes (n,).
        subjects: Subject of each image (n,), None where unknown.

    Raises:
        UserError: Too few images or subjects, or images without a subject where one is needed.
    """
    if len(set(labels.tolist())) < 2:
        raise UserError("Trials need labelled images of two or more classes; there are fewer.")
    if settings.protocol == "random":
        splits = [
            random_split(labels, settings.train_share, settings.test_share, settings.seed, trial)
            for trial in range(settings.n_trials)
        ]
    else:
        known = _all_known(subjects, settings.protocol)
        n_folds = N_SUBJECT_FOLDS if settings.protocol == "subject-10fold" else len(set(known))
        splits = subject_folds(known, n_folds)
    require_usable(splits, labels)
    return splits


def require_usable(splits: list[Split], labels: NDArray[np.int8]) -> None:
    """Make sure that each split has something to test and two or more classes to train.

    A class trains with two images or more: a single one cannot be calibrated.

    Raises:
        UserError: One has not.
    """
    for split in splits:
        _, counts = np.unique(labels[split.train], return_counts=True)
        if len(split.test) == 0 or np.sum(counts >= 2) < 2:
            raise UserError(
                "Too few labelled images for these trials: a split would have no test image, or "
                "training images of a single class (a class counts with two or more). Add images, "
                "or take another protocol."
            )


def random_split(
    labels: NDArray[np.int8], train_share: float, test_share: float, seed: int, trial: int
) -> Split:
    """The study's split: each class shuffled, its first part for training, its last for testing.

    Of a class with n images `int(train_share * n)` train and `int(test_share * n)` test, so that
    one image can be in neither part.
    """
    generator = np.random.default_rng([seed, trial])
    train, test = [], []
    for code in np.unique(labels):
        images = generator.permutation(np.flatnonzero(labels == code))
        n_test = int(test_share * len(images))
        train.append(images[: int(train_share * len(images))])
        test.append(images[len(images) - n_test :])
    return Split(np.concatenate(train), np.concatenate(test))


def subject_folds(subjects: list[str], n_folds: int) -> list[Split]:
    """Folds that share no subject: `sorted(subjects)[i::n_folds]` are the test subjects of fold i.

    These are the usual folds of published work on CK+. With as many folds as subjects it is
    leave-one-subject-out. Folds that no subject falls into are left out.

    Raises:
        UserError: Fewer than two subjects.
    """
    names = sorted(set(subjects))
    if len(names) < 2:
        raise UserError("Subject-disjoint protocols need two or more subjects; there are fewer.")
    of_image = np.array(subjects, dtype=object)
    folds = []
    for fold in range(min(n_folds, len(names))):
        tested = np.isin(of_image, names[fold::n_folds])
        folds.append(Split(np.flatnonzero(~tested), np.flatnonzero(tested)))
    return folds


def share_of_known_subjects(subjects: list[str | None], split: Split) -> float | None:
    """Share of test images whose subject is also in training; None where no subject is known."""
    trained = {subjects[index] for index in split.train} - {None}
    tested = [subjects[index] for index in split.test if subjects[index] is not None]
    if not tested:
        return None
    return sum(subject in trained for subject in tested) / len(tested)


def _all_known(subjects: list[str | None], protocol: str) -> list[str]:
    known = [subject for subject in subjects if subject is not None]
    if len(known) < len(subjects):
        raise UserError(
            f"Protocol {protocol} needs the subject of every image; {len(subjects) - len(known)} "
            "have none. Give a CSV with a subject column, or take --protocol random."
        )
    return known


def require_subjects(samples: Samples, splits: list[Split]) -> None:
    """Make sure that each training part can be cut by subject once more (`inner_folds`).

    Raises:
        UserError: One holds a single subject.
    """
    for split in splits:
        if len(set(_subjects(samples, split.train))) < 2:
            raise UserError(
                "What is chosen inside a training part needs two or more subjects there, and one "
                "has a single subject. Add subjects, or take another protocol."
            )


def _subjects(samples: Samples, rows: NDArray[np.int64]) -> list[str]:
    """The subject of each row; one that is not known stands for itself."""
    return [samples.subjects[row] or f"image {row}" for row in rows]


def inner_folds(samples: Samples, train: NDArray[np.int64], n_folds: int, seed: int) -> list[Split]:
    """Folds of a training part that share no subject and hold all classes alike.

    Args:
        samples: Whose labels and subjects.
        train: Indices of the training part (n,).
        n_folds: Number of folds; no more than there are subjects. An image whose subject is not
            known stands for itself.
        seed: Of the shuffling.

    Returns:
        Positions within `train`.
    """
    subjects = _subjects(samples, train)
    folds = StratifiedGroupKFold(
        min(n_folds, len(set(subjects))), shuffle=True, random_state=seed % 2**32
    )
    with warnings.catch_warnings():
        # That a class has fewer images than there are folds: `warnings_for` tells of rare classes.
        warnings.simplefilter("ignore", UserWarning)
        return [Split(*pair) for pair in folds.split(train, samples.labels[train], subjects)]
