"""A linear SVM for thousands of features: fast to fit, and small when stored.

Bundles refer to `LinearSvm` by the path of this module.
"""

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

if TYPE_CHECKING:
    from sklearn.svm import SVC

MAX_GRAM_ROWS = 12_000  # 1.1 GB of inner products; for more rows, they are computed as needed

Floats = NDArray[np.float64]


class LinearSvm(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear SVM, one against one, for thousands of features.

    It solves the same problem as scikit-learn's `SVC(kernel="linear")`. The inner products of all
    images are computed once, as a matrix product, instead of one by one for each pair of classes.
    The model has one weight vector for each pair of classes instead of all support vectors.
    Fitting, predicting and storing a model are therefore much cheaper.

    Args:
        C: Penalty.
        tol: Stopping tolerance.
        class_weight: None, or "balanced" to weight classes inversely to their frequency.
        decision_function_shape: What `decision_function` returns, as in `SVC`: votes of each class
            ("ovr") or the decision value of each pair of classes ("ovo").

    Attributes:
        classes_: Classes in ascending order (k,).
        coef_: Weights of each pair of classes (k (k − 1) / 2, width).
        intercept_: Intercepts of each pair (k (k − 1) / 2,).

    Examples:
        >>> LinearSvm().fit(features, labels).predict(features[:2])
        array([5, 7], dtype=int8)
    """

    def __init__(
        self,
        C: float = 1.0,  # noqa: N803
        tol: float = 1e-3,
        class_weight: str | None = None,
        decision_function_shape: str = "ovr",
    ) -> None:
        self.C = C
        self.tol = tol
        self.class_weight = class_weight
        self.decision_function_shape = decision_function_shape

    def fit(self, X: Any, y: Any) -> "LinearSvm":  # noqa: N803
        """Fit the SVM to features (n, width) and labels (n,)."""
        # Slow to import, and predicting does without.
        from sklearn.svm import SVC

        from fer_ray.models.libsvm import MAX_ITERATIONS, report_limit, separate_duplicates

        features = np.asarray(X, dtype=np.float64)
        if len(features) <= MAX_GRAM_ROWS:
            kernel, inputs = "precomputed", separate_duplicates(features @ features.T)
        else:
            kernel, inputs = "linear", features
        svc = SVC(
            kernel=kernel, C=self.C, tol=self.tol, class_weight=self.class_weight,
            max_iter=MAX_ITERATIONS,
        )  # fmt: skip
        svc.fit(inputs, y)
        report_limit(svc)
        self.classes_ = svc.classes_
        self.n_features_in_ = features.shape[1]
        self.coef_ = _pair_weights(svc, features)
        self.intercept_ = svc.intercept_
        return self

    def decision_function(self, X: Any) -> Floats:  # noqa: N803
        """Decision values of pairs of classes, or votes with ties broken by the sum of the values.

        Rows are computed one by one, because the rounding of a matrix product depends on the number
        of rows.

        Returns:
            As in `SVC`: (n, k) or (n, k (k − 1) / 2), the latter positive for the first class of
            a pair; (n,) for two classes, positive for the second.
        """
        margins = self._margins(X)
        if len(self.classes_) == 2:
            return margins[:, 0]
        is_pairwise = self.decision_function_shape == "ovo"
        return margins if is_pairwise else _votes(margins, len(self.classes_))

    def _margins(self, X: Any) -> Floats:  # noqa: N803
        features = np.ascontiguousarray(X, dtype=np.float64)
        margins = np.zeros((len(features), len(self.intercept_)))
        for margin, row in zip(margins, features, strict=True):
            margin[:] = self.coef_ @ row + self.intercept_
        return margins

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Predict the class with the most votes (n,)."""
        margins, n_classes = self._margins(X), len(self.classes_)
        is_binary = n_classes == 2
        best = (margins[:, 0] > 0) * 1 if is_binary else _votes(margins, n_classes).argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[best]
        return predicted


def _pair_weights(svc: "SVC", features: Floats) -> Floats:
    """The weight vector of each pair of classes, from the dual coefficients.

    Row j − 1 (for classes i < j) has the coefficients of the support vectors of class i, and row i
    those of class j.
    """
    vectors, dual = features[svc.support_], svc.dual_coef_
    ends = np.cumsum(svc.n_support_)
    members = [slice(end - size, end) for size, end in zip(svc.n_support_, ends, strict=True)]
    return np.array(
        [
            dual[j - 1, members[i]] @ vectors[members[i]]
            + dual[i, members[j]] @ vectors[members[j]]
            for i, j in combinations(range(len(members)), 2)
        ]
    )


def _votes(margins: Floats, n_classes: int) -> Floats:
    """Votes of all pairs (n, k); the sum of margins, scaled to less than half a vote, is added.

    Args:
        margins: Decision values of each pair (n, pairs), positive for the first class.
        n_classes: Number of classes.
    """
    votes, sums = np.zeros((2, len(margins), n_classes))
    for column, (i, j) in zip(margins.T, combinations(range(n_classes), 2), strict=True):
        votes[:, i] += column > 0
        votes[:, j] += column <= 0
        sums[:, i] += column
        sums[:, j] -= column
    scores: Floats = votes + sums / (3 * (np.abs(sums) + 1))
    return scores
