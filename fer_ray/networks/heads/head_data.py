"""Training and validation data of one head, taken from the samples of its experiment. No Keras."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.inner_splits import inner_folds
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.vocabulary import EMOTIONS

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HeadData:
    """Data that one head is fitted to and validated on.

    Attributes:
        features: Features of the fitted images: (n, width), or (draws, n, width) if augmented.
        labels: Class codes of the fitted images (n,).
        validation: Features of the validation images (m, width), which select the epoch.
        validation_labels: Their class codes (m,).
        codes: Class codes of the experiment; a head predicts no others.
    """

    features: Floats
    labels: NDArray[np.int8]
    validation: Floats
    validation_labels: NDArray[np.int8]
    codes: NDArray[np.int8]

    @cached_property
    def one_hot(self) -> Floats:
        """The labels as one-hot vectors (n, 8)."""
        return np.eye(len(EMOTIONS), dtype=np.float32)[self.labels]

    def of_epoch(self, epoch: int) -> Floats:
        """Features (n, width) of one epoch; if augmented, each epoch takes the next draw."""
        features = self.features
        return features if features.ndim == 2 else features[epoch % len(features)]


def head_data(samples: Samples, draws: Floats | None, inner: Split) -> HeadData:
    """Select the fitted and validation images of `inner`.

    Args:
        samples: Plain features of the experiment.
        draws: Augmented features (draws, n, width), used for the fitted images only, or None.
        inner: Indices into `samples` of the images to fit (`train`) and to validate on (`test`).
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
    """Divide a trial's training part into images to fit and images to validate on.

    In random trials the images are shuffled and divided, as in the reference study. In other
    protocols no subject is in both.

    Args:
        samples: Samples of the experiment.
        train: Indices of the training part.
        protocol: Protocol of the trials.
        share: Share of the training part to validate on.
        seed: Seed of the experiment.
        trial: Number of the trial.

    Returns:
        Indices into `samples`.
    """
    if protocol == "random":
        shuffled = np.random.default_rng([seed, trial, 1]).permutation(train)
        n_fitted = round((1 - share) * len(shuffled))
        return Split(shuffled[:n_fitted], shuffled[n_fitted:])
    folds = max(2, round(1 / share))
    fold = inner_folds(samples, train, folds, seed)[trial % folds]
    return Split(train[fold.train], train[fold.test])


def fitted_rows(
    samples: Samples, splits: Sequence[Split], protocol: str, share: float, seed: int
) -> NDArray[np.bool_]:
    """Return whether any trial fits a sample: (n,) bool. Arguments as for `validation_split`."""
    fitted = np.zeros(len(samples.labels), np.bool_)
    for trial, split in enumerate(splits):
        inner = validation_split(samples, split.train, protocol, share, seed, trial)
        fitted[inner.train] = True
    return fitted
