"""The cells of a transfer matrix: a training source, a test source, and the splits between them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.independent_training import (
    IndependentSplit,
    exclude_shared,
    read_joint_identities,
)
from fer_ray.evaluation.protocols.splits import N_SUBJECT_FOLDS, Split, subject_folds
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import EMOTIONS

MIN_TRAINING_IMAGES = 2  # of a class: a single image cannot be calibrated
ANOTHER_SOURCE = "another-source"


@dataclass(frozen=True)
class TransferSource:
    """The labelled images of a run folder.

    Attributes:
        name: Unique among the sources.
        out: The run folder.
        samples: Its labelled images with features.
    """

    name: str
    out: Path
    samples: Samples

    @property
    def units(self) -> list[str]:
        """The subject of each image; an image of unknown subject counts as a separate subject."""
        pairs = zip(self.samples.subjects, self.samples.image_ids, strict=True)
        return [subject or f"image {image_id}" for subject, image_id in pairs]


@dataclass(frozen=True)
class TransferCell:
    """A cell of the matrix.

    Attributes:
        train: Number of the training source.
        test: Number of the test source; the same for the folds of a source.
        protocol: `another-source`, `subject-10fold`, or `image-10fold` if no subject is known.
        splits: Rows of training and test images, without training images that share a subject or
            a picture with a test image. Rows count the images of the training source, followed by
            those of another test source. Empty if the cell cannot be computed.
        train_images: Training images; for folds, of the smallest training part.
        excluded: Excluded training images by kind (`independent_training.EXCLUDING`), over all
            folds; an image counts once for each kind. None: unknown.
        unknown_class: Test images whose class the model is not trained on; they are not tested.
        problem: Why the cell cannot be computed.
    """

    train: int
    test: int
    protocol: str
    splits: tuple[Split, ...]
    train_images: int
    excluded: dict[str, int | None]
    unknown_class: int
    problem: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether the model is tested on folds of its training source."""
        return self.train == self.test


def plan_cells(
    sources: list[TransferSource], train: list[int], test: list[int], same_names: bool
) -> list[TransferCell]:
    """Plan the cells of a matrix: every pair of sources, and the folds of each training source.

    Args:
        sources: All sources.
        train: Numbers of the training sources.
        test: Numbers of the test sources.
        same_names: Whether a subject name that occurs in two sources means one person.
    """
    pairs = dict.fromkeys((row, column) for row in train for column in [row, *test])
    return [
        _plan_folds(sources, row) if row == column else _plan_pair(sources, row, column, same_names)
        for row, column in pairs
    ]


def _plan_folds(sources: list[TransferSource], number: int) -> TransferCell:
    source = sources[number]
    known = any(subject is not None for subject in source.samples.subjects)
    protocol = "subject-10fold" if known else "image-10fold"
    units = source.units
    if len(set(units)) < 2:
        return _impossible(number, number, protocol, "all images show one subject")
    identities = read_joint_identities([_to_read(source)])
    labels = source.samples.labels
    usable = np.flatnonzero(np.isin(labels, _trainable(labels)))
    folds = [_restrict(split, usable) for split in subject_folds(units, N_SUBJECT_FOLDS)]
    splits = [exclude_shared(identities, fold) for fold in folds if len(fold.test)]
    return _cell((number, number), protocol, splits, labels, len(labels) - len(usable))


def _plan_pair(
    sources: list[TransferSource], train: int, test: int, same_names: bool
) -> TransferCell:
    first, second = sources[train], sources[test]
    identities = read_joint_identities([_to_read(first), _to_read(second)], same_names)
    labels = np.concatenate([first.samples.labels, second.samples.labels])
    trained = np.arange(len(first.samples.labels))
    tested = np.arange(len(trained), len(labels))
    independent = exclude_shared(identities, Split(trained, tested))
    classes = _trainable(labels[independent.split.train])
    known = tested[np.isin(labels[tested], classes)]
    split = IndependentSplit(Split(independent.split.train, known), independent.excluded)
    return _cell((train, test), ANOTHER_SOURCE, [split], labels, len(tested) - len(known))


def _cell(
    pair: tuple[int, int],
    protocol: str,
    splits: list[IndependentSplit],
    labels: NDArray[np.int8],
    unknown_class: int,
) -> TransferCell:
    if any(len(_trainable(labels[item.split.train])) < 2 for item in splits):
        return _impossible(
            *pair, protocol,
            "without images that occur in both, the training source has fewer than two classes of "
            f"{MIN_TRAINING_IMAGES} images",
        )  # fmt: skip
    if not splits or not all(len(item.split.test) for item in splits):
        return _impossible(*pair, protocol, "the test source has no image of a trained class")
    kinds = dict.fromkeys(kind for item in splits for kind in item.excluded)
    excluded: dict[str, int | None] = {
        kind: len(np.unique(np.concatenate([item.excluded[kind] for item in splits])))
        for kind in kinds
    }
    return TransferCell(
        *pair,
        protocol=protocol,
        splits=tuple(item.split for item in splits),
        train_images=min(len(item.split.train) for item in splits),
        excluded=excluded,
        unknown_class=unknown_class,
    )


def _restrict(split: Split, rows: NDArray[np.int64]) -> Split:
    return Split(np.intersect1d(split.train, rows), np.intersect1d(split.test, rows))


def _impossible(train: int, test: int, protocol: str, problem: str) -> TransferCell:
    return TransferCell(train, test, protocol, (), 0, {}, 0, problem)


def _trainable(labels: NDArray[np.int8]) -> NDArray[np.int64]:
    counts = np.bincount(labels, minlength=len(EMOTIONS))
    return np.flatnonzero(counts >= MIN_TRAINING_IMAGES)


def _to_read(source: TransferSource) -> tuple[Path, list[str]]:
    return RunFolder(source.out).frames, source.samples.image_ids
