"""Choosing the penalty of a linear SVM within a training part."""

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.inner_splits import inner_folds
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.models.candidate_fits import prepare_sets, weight_sets
from fer_ray.models.libsvm import MAX_ITERATIONS, separate_duplicates
from fer_ray.settings.feature_sets import widths_of
from fer_ray.settings.training import TrialSettings

# Penalties on features of mean square 1 / width (`PreparedFeatures`), so that they have the same
# meaning for any width. With less, most images are support vectors of full weight; with more,
# nearly all training images are separated and nothing changes.
PENALTIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
INNER_FOLDS = 5
MAX_IMAGES = 1_000  # images of a training part that are used for the choice
MAX_REPEATS = 3  # of the inner folds; small training parts need several

Floats = NDArray[np.float64]


def with_chosen_penalty(
    settings: TrialSettings, samples: Samples, train: NDArray[np.int64], copies: Floats | None
) -> TrialSettings:
    """Replace `C="auto"` with the penalty with the highest accuracy on other people.

    The training part is divided into folds that share no subject. Each image is predicted by an SVM
    that was fitted to the other folds and their augmented copies. Small training parts are divided
    up to three times. As accuracies of neighbouring penalties are similar, their weighted means are
    compared. The smallest of equally good penalties is chosen.

    Args:
        settings: Settings of the trial, with a linear kernel and `scale="equal"`.
        samples: Samples that include the training part.
        train: Indices of the training part.
        copies: Features of augmented copies (copies, n, width) of the samples.

    Returns:
        The settings with a number for C; unchanged if C is a number already.
    """
    if settings.C != "auto":
        return settings
    if len(train) > MAX_IMAGES:
        train = np.sort(np.random.default_rng(settings.seed).permutation(train)[:MAX_IMAGES])
    correct = _count_correct(settings, samples, train, copies)
    best = PENALTIES[best_penalty(correct)]
    return settings.model_copy(update={"C": best / samples.features.shape[1]})


def _count_correct(
    settings: TrialSettings, samples: Samples, train: NDArray[np.int64], copies: Floats | None
) -> Floats:
    """Count the images that each of `PENALTIES` predicts correctly."""
    labels, plain = samples.labels[train], samples.features[train]
    n_copies = 0 if copies is None else len(copies)
    every = plain if copies is None else np.concatenate([plain, *copies[:, train]])
    # Scaled by the entire training part: this uses no labels, and one matrix serves all folds.
    widths = widths_of(settings.feature_set, plain.shape[1])
    features = weight_sets(prepare_sets(every, plain, widths), settings.set_weights)
    starts = len(train) * np.arange(1 + n_copies)[:, None]
    weight = "balanced" if settings.class_weight == "balanced" else None
    correct = np.zeros(len(PENALTIES))
    for fold in _repeated_folds(samples, train, settings.seed):
        known = np.tile(labels[fold.train], 1 + n_copies)
        if len(set(known.tolist())) < 2:
            continue  # a single class: no penalty predicts another one
        fitted = (starts + fold.train).ravel()
        gram = separate_duplicates(features.gram[np.ix_(fitted, fitted)])
        cross = features.cross[fold.test][:, fitted]
        for column, penalty in enumerate(PENALTIES):
            svm = SVC(kernel="precomputed", C=penalty, tol=settings.tol, class_weight=weight,
                      max_iter=MAX_ITERATIONS)  # fmt: skip
            predicted = svm.fit(gram, known).predict(cross)
            correct[column] += np.sum(predicted == labels[fold.test])
    return correct


def _repeated_folds(samples: Samples, train: NDArray[np.int64], seed: int) -> list[Split]:
    repeats = min(MAX_REPEATS, max(1, MAX_IMAGES // len(train)))
    return [
        fold
        for repeat in range(repeats)
        for fold in inner_folds(samples, train, INNER_FOLDS, seed + repeat)
    ]


def best_penalty(correct: Floats) -> int:
    """Return the position of the best of `PENALTIES`.

    Args:
        correct: Images that each predicts correctly. They are smoothed over neighbouring penalties,
            with weights of 1/4, 1/2 and 1/4.
    """
    padded = np.pad(correct, 1, mode="edge")
    return int((padded[:-2] / 4 + correct / 2 + padded[2:] / 4).argmax())
