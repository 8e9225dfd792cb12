"""Fitting the configurations of a nested search on features that are prepared once.

Scaling, Gram matrix and principal components are computed once per training part and feature set,
and each classifier uses one of them. A fit then takes milliseconds for features of any width.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from fer_ray.models.configurations import Configuration
from fer_ray.models.libsvm import MAX_ITERATIONS, separate_duplicates
from fer_ray.settings.training import Classifier
from fer_ray.vocabulary import EMOTIONS

Floats = NDArray[np.float64]
ClassScores = tuple[NDArray[np.int8], Floats]  # classes (k,), scores (m, k)

MIN_LOG_PROBABILITY = -30.0  # in nats; practically impossible, but finite
MIN_EIGENVALUE = 1e-10  # as a share of the largest; below is rounding error


@dataclass(frozen=True)
class PreparedFeatures:
    """Inner products of a training part and of the images to score, scaled by the training part.

    Features are standardised, and the sets of a union are weighted. All features are divided by the
    square root of their number. Squared distances between images are then about 2, and penalties
    have the same meaning for narrow and wide feature sets.

    Attributes:
        gram: Inner products among training images (n, n).
        cross: Inner products of scored and training images (m, n).
        squares: Squared lengths of the scored images (m,).
    """

    gram: Floats
    cross: Floats
    squares: Floats

    @cached_property
    def distances(self) -> tuple[Floats, Floats]:
        """Squared distances among training images (n, n), and from scored to training (m, n)."""
        squares = np.diagonal(self.gram)
        among = squares[:, None] + squares[None] - 2 * self.gram
        across = self.squares[:, None] + squares[None] - 2 * self.cross
        return np.maximum(among, 0), np.maximum(across, 0)

    @cached_property
    def components(self) -> tuple[Floats, Floats]:
        """Coordinates along the principal axes, by decreasing variance: (n, rank) and (m, rank).

        Together they contain all information of the features. A rotation changes no inner product,
        so a linear model with a squared penalty is the same on them as on the features themselves.
        """
        values, vectors = np.linalg.eigh(self.gram)
        significant = values > MIN_EIGENVALUE * values[-1]
        roots, axes = np.sqrt(values[significant][::-1]), vectors[:, significant][:, ::-1]
        return axes * roots, self.cross @ (axes / roots)


def prepare_sets(
    train: Floats, scored: Floats, widths: tuple[int, ...] | None = None
) -> Iterator[PreparedFeatures]:
    """Prepare the sets of a union one by one.

    Args:
        train: Features of the training part (n, width).
        scored: Features of the images to score (m, width).
        widths: Width of each set, in order. None: a single set.
    """
    ends = np.cumsum(widths or (train.shape[1],))[:-1]
    yield from map(_prepare_set, np.split(train, ends, axis=1), np.split(scored, ends, axis=1))


def _prepare_set(train: Floats, scored: Floats) -> PreparedFeatures:
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    unit = np.where(deviation > 0, deviation, 1) * np.sqrt(train.shape[1])
    a, b = (train - mean) / unit, (scored - mean) / unit
    return PreparedFeatures(a @ a.T, b @ a.T, np.sum(b * b, axis=1))


def weight_sets(
    sets: Iterable[PreparedFeatures], weights: tuple[float, ...] = ()
) -> PreparedFeatures:
    """Combine the sets of a union: its inner products are weighted means of theirs.

    Args:
        sets: From `prepare_sets`.
        weights: Weight of each set, as for `scaling.union_scale`. Empty: all have the same.
    """
    total, gram, cross, squares = 0.0, *(np.zeros(1),) * 3
    for one, weight in zip(sets, weights or repeat(1.0), strict=bool(weights)):
        total += weight
        gram = gram + weight * one.gram
        cross = cross + weight * one.cross
        squares = squares + weight * one.squares
    return PreparedFeatures(gram / total, cross / total, squares / total)


def class_scores(
    configuration: Configuration, features: PreparedFeatures, labels: NDArray[np.int8]
) -> Floats:
    """Fit a configuration on the training part and score the other images.

    Args:
        configuration: What to fit.
        features: Features of both.
        labels: Class codes of the training part (n,).

    Returns:
        Scores (m, 8), higher for more probable classes; −inf for classes without training images.
    """
    classes, scores = _FITS[configuration.classifier](configuration.parameters, features, labels)
    all_scores = np.full((len(features.cross), len(EMOTIONS)), -np.inf)
    all_scores[:, classes] = scores
    return all_scores


def _svm_linear(
    parameters: dict[str, Any], features: PreparedFeatures, labels: NDArray[np.int8]
) -> ClassScores:
    return _svm(parameters, features.gram, features.cross, labels)


def _svm_rbf(
    parameters: dict[str, Any], features: PreparedFeatures, labels: NDArray[np.int8]
) -> ClassScores:
    among, across = (np.exp(-parameters["gamma"] * squared) for squared in features.distances)
    return _svm(parameters, among, across, labels)


def _svm(
    parameters: dict[str, Any], gram: Floats, cross: Floats, labels: NDArray[np.int8]
) -> ClassScores:
    weight = _class_weight(parameters)
    model = SVC(kernel="precomputed", C=parameters["C"], class_weight=weight,
                max_iter=MAX_ITERATIONS).fit(separate_duplicates(gram), labels)  # fmt: skip
    decided = model.decision_function(cross)
    return model.classes_, np.stack([-decided, decided], 1) if decided.ndim == 1 else decided


def _logistic(
    parameters: dict[str, Any], features: PreparedFeatures, labels: NDArray[np.int8]
) -> ClassScores:
    train, scored = features.components
    weight = _class_weight(parameters)
    model = LogisticRegression(C=parameters["C"], max_iter=200, tol=1e-3, class_weight=weight)
    return _log_probabilities(model.fit(train, labels), scored)


def _class_weight(parameters: dict[str, Any]) -> str | None:
    return "balanced" if parameters.get("balanced") else None


def _lda(
    parameters: dict[str, Any], features: PreparedFeatures, labels: NDArray[np.int8]
) -> ClassScores:
    """LDA on the first principal components (Belhumeur et al., IEEE PAMI 19, 1997)."""
    train, scored = (part[:, : int(parameters["components"])] for part in features.components)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=parameters["shrinkage"])
    return _log_probabilities(model.fit(train, labels), scored)


def _boosting(
    parameters: dict[str, Any], features: PreparedFeatures, labels: NDArray[np.int8]
) -> ClassScores:
    train, scored = (part[:, : int(parameters["components"])] for part in features.components)
    model = HistGradientBoostingClassifier(
        max_iter=int(parameters["iterations"]),
        learning_rate=parameters["learning_rate"],
        max_leaf_nodes=int(parameters["leaves"]),
        min_samples_leaf=5,  # with the default of 20, no leaf could contain only a rare class
        early_stopping=False,
        random_state=0,
    )
    return _log_probabilities(model.fit(train, labels), scored)


def _log_probabilities(model: Any, scored: Floats) -> ClassScores:
    with np.errstate(divide="ignore"):
        logs = np.log(model.predict_proba(scored))
    return model.classes_, np.maximum(logs, MIN_LOG_PROBABILITY)


_FITS: dict[
    Classifier, Callable[[dict[str, Any], PreparedFeatures, NDArray[np.int8]], ClassScores]
] = {
    "svm-linear": _svm_linear,
    "svm-rbf": _svm_rbf,
    "logistic": _logistic,
    "lda": _lda,
    "boosting": _boosting,
}
