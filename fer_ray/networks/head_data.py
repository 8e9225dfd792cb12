"""What one head is trained and validated on, cut from the samples of its experiment. No Keras."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.splits import Split, inner_folds
from fer_ray.vocabulary import EMOTIONS

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HeadData:
    """What one head is trained and validated on.

    Attributes:
        features: Of the images that are fitted: (n, width), or (draws, n, width) augmented.
        labels: Their class codes (n,).
        validation: Features of the images that choose the epoch (m, width).
        validation_labels: Their class codes (m,).
        codes: Classes that there are in the experiment: a head answers with no others.
    """

    features: Floats
    labels: NDArray[np.int8]
    validation: Floats
    validation_labels: NDArray[np.int8]
    codes: NDArray[np.int8]

    @cached_property
    def one_hot(self) -> Floats:
        """The labels as (n, 8)."""
        return np.eye(len(EMOTIONS), dtype=np.float32)[self.labels]

    def of_epoch(self, epoch: int) -> Floats:
        """Features of the fitted images in one epoch (n, width): of the next draw, if drawn."""
        drawn = self.features
        return drawn if drawn.ndim == 2 else drawn[epoch % len(drawn)]


def head_data(samples: Samples, draws: Floats | None, inner: Split) -> HeadData:
    """The fitted and validation images of `inner`, indices into `samples`.

    Args:
        samples: Features as they are.
        draws: Augmented ones (draws, n, width), for the fitted images alone. None: none.
        inner: What is fitted, and what validates.
    """
    plain = samples.features.astype(np.float32)
    fitted = plain[inner.train] if draws is None else draws[:, inner.train]
    labels = samples.labels
    return HeadData(
        fitted, labels[inner.train], plain[inner.test], labels[inner.test], np.unique(labels)
    )


def validation_split(
    samples: Samples, train: NDArray[np.int64], protocol: str, share: float, seed: int, trial: int
) -> Split:
    """A trial's training part, cut into what is fitted and what validates.

    Random trials: shuffled and cut, as the study. Other protocols: no subject on both sides.

    Returns:
        Indices into `samples`.
    """
    if protocol == "random":
        shuffled = np.random.default_rng([seed, trial, 1]).permutation(train)
        kept = round((1 - share) * len(shuffled))
        return Split(shuffled[:kept], shuffled[kept:])
    folds = max(2, round(1 / share))
    fold = inner_folds(samples, train, folds, seed)[trial % folds]
    return Split(train[fold.train], train[fold.test])


def fitted_rows(
    samples: Samples, splits: Sequence[Split], protocol: str, share: float, seed: int
) -> NDArray[np.bool_]:
    """Which of the samples (n,) some trial fits; arguments as of `validation_split`."""
    fitted = np.zeros(len(samples.labels), np.bool_)
    for trial, split in enumerate(splits):
        inner = validation_split(samples, split.train, protocol, share, seed, trial)
        fitted[inner.train] = True
    return fitted
