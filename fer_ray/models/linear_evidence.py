"""What a linear SVM relies on: the contribution of each feature to the decision for each class."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fer_ray.models.linear_svm import LinearSvm
from fer_ray.models.svm import feature_scaler
from fer_ray.settings.training import TrialSettings

MAX_FITTED = 1600  # images, evenly spaced within each class; more would take minutes


def linear_evidence(
    settings: TrialSettings, features: NDArray[np.float64], labels: NDArray[np.int8]
) -> tuple[list[int], NDArray[np.float64], int]:
    """Compute the contribution of each feature to the decision for each class.

    A linear SVM has one weight vector for each pair of classes. The weights of a class are the mean
    of those of its pairs, with the sign in its favour. The contribution of a feature is its weight
    times the difference between its mean over the images of the class and the mean of the class
    means, both after scaling. Contributions are therefore those to the images of the class itself,
    not to a difficult image.

    Args:
        settings: Parameters of the SVM, with a number for C.
        features: (n, width).
        labels: Class codes (n,) of two or more classes.

    Returns:
        Class codes (k,), contributions (k, width), and the number of images that were used.

    Examples:
        >>> codes, evidence, n = linear_evidence(TrialSettings(), features, labels)
    """
    rows = select_rows(labels)
    features, labels = features[rows], labels[rows]
    scaler = feature_scaler(settings, features.shape[1])
    scaled = features if scaler is None else scaler.fit_transform(features)
    weight = "balanced" if settings.class_weight == "balanced" else None
    svm = LinearSvm(float(settings.C), settings.tol, weight).fit(scaled, labels)
    means = np.stack([scaled[labels == code].mean(axis=0) for code in svm.classes_])
    evidence = _class_weights(svm) * (means - means.mean(axis=0))
    return [int(code) for code in svm.classes_], evidence, len(rows)


def select_rows(labels: NDArray[np.int8]) -> NDArray[np.int64]:
    """Select at most `MAX_FITTED` images, with an equal limit for each class; sorted indices."""
    codes = np.unique(labels)
    limit = MAX_FITTED // len(codes)
    chosen = []
    for code in codes:
        rows = np.flatnonzero(labels == code)
        n = min(limit, len(rows))
        chosen.append(rows[np.linspace(0, len(rows) - 1, n).round().astype(int)])
    return np.sort(np.concatenate(chosen))


def _class_weights(svm: LinearSvm) -> NDArray[np.float64]:
    """The mean weights of the pairs of each class (k, width)."""
    k = len(svm.classes_)
    if k == 2:  # scikit-learn then has the sign of the second class
        return np.concatenate([-svm.coef_, svm.coef_])
    weights = np.zeros((k, svm.coef_.shape[1]))
    for pair, (first, second) in zip(svm.coef_, combinations(range(k), 2), strict=True):
        weights[first] += pair / (k - 1)
        weights[second] -= pair / (k - 1)
    return weights
