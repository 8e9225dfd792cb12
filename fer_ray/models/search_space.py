"""Training and test features as all configurations of a search see them, and the fits on them.

Scaling, Gram matrix and principal components are made once for a training part and a feature set;
each classifier works on one of them, so that a fit costs milliseconds whatever the features' width.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from fer_ray.models.candidates import Configuration
from fer_ray.models.scaling import weights
from fer_ray.settings.training import Classifier
from fer_ray.vocabulary import EMOTIONS

Floats = NDArray[np.float64]

LEAST_LOG_PROBABILITY = -30.0  # in nats; below is as good as impossible, and no infinity
SMALLEST_EIGENVALUE = 1e-10  # of the largest; below is rounding error


class Space:
    """A training part (n, width) and images to score (m, width), scaled by the training part.

    Features are standardised, each set of a union is given the same weight, and all are divided by
    the root of their number, so that squared distances between images are about 2 and penalties
    mean the same for narrow and wide feature sets.

    Args:
        train: (n, width).
        scored: (m, width).
        widths: Numbers of each set, in order. None: one set.
    """

    def __init__(
        self, train: Floats, scored: Floats, widths: tuple[int, ...] | None = None
    ) -> None:
        width = train.shape[1]
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        unit = np.where(deviation > 0, deviation, 1) * np.sqrt(width) * weights(widths or (width,))
        a, b = (train - mean) / unit, (scored - mean) / unit
        self.gram: Floats = a @ a.T  # (n, n)
        self.cross: Floats = b @ a.T  # (m, n)
        self._squares_train: Floats = np.sum(a * a, axis=1)
        self._squares_scored: Floats = np.sum(b * b, axis=1)

    @cached_property
    def distances(self) -> tuple[Floats, Floats]:
        """Squared distances among training images (n, n), and from scored ones to them (m, n)."""
        squares = self._squares_train
        among = squares[:, None] + squares[None] - 2 * self.gram
        across = self._squares_scored[:, None] + squares[None] - 2 * self.cross
        return np.maximum(among, 0), np.maximum(across, 0)

    @cached_property
    def components(self) -> tuple[Floats, Floats]:
        """Coordinates along the principal axes, the widest first: (n, rank) and (m, rank).

        All of them hold what the features hold: a rotation changes no inner product, so a linear
        model with a square penalty is the same on them as on the features themselves.
        """
        values, vectors = np.linalg.eigh(self.gram)
        kept = values > SMALLEST_EIGENVALUE * values[-1]
        roots, axes = np.sqrt(values[kept][::-1]), vectors[:, kept][:, ::-1]
        return axes * roots, self.cross @ (axes / roots)


def class_scores(configuration: Configuration, space: Space, labels: NDArray[np.int8]) -> Floats:
    """Fit on the training part of `space` and score the others.

    Args:
        configuration: What to fit.
        space: Features.
        labels: Class codes of the training part (n,).

    Returns:
        (m, 8): the higher, the likelier the class; −inf for classes that were not trained.
    """
    classes, scores = _FITS[configuration.classifier](configuration.parameters, space, labels)
    full = np.full((len(space.cross), len(EMOTIONS)), -np.inf)
    full[:, classes] = scores
    return full


Fitted = tuple[NDArray[np.int8], Floats]  # classes (k,), scores (m, k)


def _svm_linear(parameters: dict[str, Any], space: Space, labels: NDArray[np.int8]) -> Fitted:
    return _svm(parameters["C"], space.gram, space.cross, labels)


def _svm_rbf(parameters: dict[str, Any], space: Space, labels: NDArray[np.int8]) -> Fitted:
    among, across = (np.exp(-parameters["gamma"] * squared) for squared in space.distances)
    return _svm(parameters["C"], among, across, labels)


def _svm(penalty: float, gram: Floats, cross: Floats, labels: NDArray[np.int8]) -> Fitted:
    model = SVC(kernel="precomputed", C=penalty).fit(gram, labels)
    decided = model.decision_function(cross)
    return model.classes_, np.stack([-decided, decided], 1) if decided.ndim == 1 else decided


def _logistic(parameters: dict[str, Any], space: Space, labels: NDArray[np.int8]) -> Fitted:
    train, scored = space.components
    model = LogisticRegression(C=parameters["C"], max_iter=200, tol=1e-3)
    return _log_probabilities(model.fit(train, labels), scored)


def _lda(parameters: dict[str, Any], space: Space, labels: NDArray[np.int8]) -> Fitted:
    """On the first principal components, as Belhumeur et al. (Fisherfaces, IEEE PAMI 19, 1997)."""
    train, scored = (part[:, : int(parameters["components"])] for part in space.components)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=parameters["shrinkage"])
    return _log_probabilities(model.fit(train, labels), scored)


def _boosting(parameters: dict[str, Any], space: Space, labels: NDArray[np.int8]) -> Fitted:
    train, scored = (part[:, : int(parameters["components"])] for part in space.components)
    model = HistGradientBoostingClassifier(
        max_iter=int(parameters["iterations"]),
        learning_rate=parameters["learning_rate"],
        max_leaf_nodes=int(parameters["leaves"]),
        min_samples_leaf=5,  # with the usual 20 no leaf could hold a rare class alone
        early_stopping=False,
        random_state=0,
    )
    return _log_probabilities(model.fit(train, labels), scored)


def _log_probabilities(model: Any, scored: Floats) -> Fitted:
    with np.errstate(divide="ignore"):
        logs = np.log(model.predict_proba(scored))
    return model.classes_, np.maximum(logs, LEAST_LOG_PROBABILITY)


_FITS: dict[Classifier, Callable[[dict[str, Any], Space, NDArray[np.int8]], Fitted]] = {
    "svm-linear": _svm_linear,
    "svm-rbf": _svm_rbf,
    "logistic": _logistic,
    "lda": _lda,
    "boosting": _boosting,
}
