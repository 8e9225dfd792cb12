"""Protocols: how images are split into training and test, as functions of labels and subjects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.settings.datasets import PARTS
from fer_ray.settings.training import TrialSettings
from fer_ray.vocabulary import EMOTIONS

N_SUBJECT_FOLDS = 10


@dataclass(frozen=True)
class Split:
    """Indices of the training and test images of one trial or fold."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def make_splits(
    settings: TrialSettings,
    labels: NDArray[np.int8],
    subjects: list[str | None],
    image_ids: list[str] | None = None,
) -> list[Split]:
    """Create all splits of a protocol.

    Args:
        settings: Protocol, shares, number of trials and seed.
        labels: Class codes (n,).
        subjects: Subject of each image (n,), None where unknown.
        image_ids: (n,), which the protocol `official` needs.

    Raises:
        UserError: There are too few images or subjects, or the protocol needs subjects that are
            unknown.
    """
    if len(set(labels.tolist())) < 2:
        raise UserError(
            "Trials need labelled images of two or more classes. Label more images, or use "
            "another value of --classes."
        )
    if settings.protocol == "random":
        splits = [
            random_split(labels, settings.train_share, settings.test_share, settings.seed, trial)
            for trial in range(settings.n_trials)
        ]
    elif settings.protocol == "official":
        splits = [official_split(image_ids or [])]
    else:
        known = _require_known(subjects, settings.protocol)
        n_folds = N_SUBJECT_FOLDS if settings.protocol == "subject-10fold" else len(set(known))
        splits = subject_folds(known, n_folds)
    require_usable(splits, labels)
    return splits


def require_usable(splits: list[Split], labels: NDArray[np.int8]) -> None:
    """Check that each split has test images and two or more classes to train.

    A class needs two training images: a single one cannot be calibrated.

    Raises:
        UserError: A split has too few images.
    """
    for split in splits:
        _, counts = np.unique(labels[split.train], return_counts=True)
        if len(split.test) == 0 or np.sum(counts >= 2) < 2:
            raise UserError(
                "Too few labelled images: a split would have no test image (random splits test a "
                "fifth of each class, rounded down), or fewer than two classes with two or more "
                "training images. Add images, or use another protocol, such as --protocol loso."
            )


def untrained_note(splits: list[Split], labels: NDArray[np.int8]) -> str | None:
    """Name the classes that splits test but cannot train; None if there are none.

    Args:
        splits: All splits of a protocol.
        labels: Class codes (n,).
    """
    tested = np.zeros(len(EMOTIONS), np.int64)
    for split in splits:
        trained = np.bincount(labels[split.train], minlength=len(EMOTIONS)) >= 2
        counts = np.bincount(labels[split.test], minlength=len(EMOTIONS))
        tested += np.where(trained, 0, counts)
    if not tested.any():
        return None
    names = [f"{name} ({count})" for name, count in zip(EMOTIONS, tested, strict=True) if count]
    return (
        f"Tests of classes with fewer than two training images in their split: {', '.join(names)}. "
        "Models give these classes the probability 0, which makes the log loss large."
    )


def random_split(
    labels: NDArray[np.int8], train_share: float, test_share: float, seed: int, trial: int
) -> Split:
    """Split at random as the reference study does.

    Each class is shuffled. Of its n images, the first `int(train_share * n)` are for training and
    the last `int(test_share * n)` for testing, so one image may be in neither part.
    """
    generator = np.random.default_rng([seed, trial])
    train, test = [], []
    for code in np.unique(labels):
        images = generator.permutation(np.flatnonzero(labels == code))
        n_test = int(test_share * len(images))
        train.append(images[: int(train_share * len(images))])
        test.append(images[len(images) - n_test :])
    return Split(np.concatenate(train), np.concatenate(test))


def official_split(image_ids: list[str]) -> Split:
    """The split that a data set prescribes, from the names of its folders or files.

    Training uses the part `train`, and testing the part `test` or, if there is none, the part
    `validation`; other images are left out.

    Args:
        image_ids: Paths of the images (n,).

    Raises:
        UserError: The training part or the test part is empty.
    """
    parts = np.array([official_part(image_id) or "" for image_id in image_ids], dtype=object)
    train, test = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "test")
    if not len(test):
        test = np.flatnonzero(parts == "validation")
    if not len(train) or not len(test):
        raise UserError(
            "The protocol official needs images with features in a training part and a test part. "
            "Use a data set with an official split, put the images into folders such as train and "
            "test, or pass another --protocol."
        )
    return Split(train, test)


def official_part(image_id: str) -> str | None:
    """The part of the official split that an image belongs to.

    It is named by the first of the image's folders that names a part; otherwise by the beginning of
    the file name (`test_0001.jpg`), or by the row of a table of pixels.

    Returns:
        `train`, `validation` or `test`; None if the path names no part.
    """
    *folders, name = image_id.lower().split("/")
    row = name.rpartition("#")[2]
    beginnings = (row.partition("-")[0] if row != name else "", name.partition("_")[0])
    return next((PARTS[part] for part in (*folders, *beginnings) if part in PARTS), None)


def subject_folds(subjects: list[str], n_folds: int) -> list[Split]:
    """Create folds that share no subject: fold i tests the subjects `sorted(subjects)[i::n_folds]`.

    These are the usual folds of published work on CK+. With as many folds as subjects, each fold
    leaves one subject out. Folds without a subject are omitted.

    Raises:
        UserError: There are fewer than two subjects.
    """
    names = sorted(set(subjects))
    if len(names) < 2:
        raise UserError(
            "Subject-disjoint protocols need two or more subjects. Use --protocol random, or a "
            "source with more subjects."
        )
    subject_of_image = np.array(subjects, dtype=object)
    folds = []
    for fold in range(min(n_folds, len(names))):
        tested = np.isin(subject_of_image, names[fold::n_folds])
        folds.append(Split(np.flatnonzero(~tested), np.flatnonzero(tested)))
    return folds


def subject_overlap(subjects: list[str | None], split: Split) -> float | None:
    """Return the share of test images whose subject is also in training.

    Images of unknown subjects do not count; None if all are unknown.
    """
    trained = {subjects[index] for index in split.train} - {None}
    tested = [subjects[index] for index in split.test if subjects[index] is not None]
    if not tested:
        return None
    return sum(subject in trained for subject in tested) / len(tested)


def _require_known(subjects: list[str | None], protocol: str) -> list[str]:
    known = [subject for subject in subjects if subject is not None]
    if len(known) < len(subjects):
        raise UserError(
            f"Protocol {protocol} needs the subject of every image, and "
            f"{len(subjects) - len(known)} have none. Provide a CSV file with a subject column, or "
            "use --protocol random."
        )
    return known
