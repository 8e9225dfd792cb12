"""Support vector machines, with probabilities as in the reference study."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from fer_ray.models.libsvm import MAX_ITERATIONS, report_limit
from fer_ray.models.linear_svm import LinearSvm
from fer_ray.models.scaling import SetScaler
from fer_ray.settings.feature_sets import widths_of
from fer_ray.settings.training import Kernel, TrialSettings
from fer_ray.vocabulary import EMOTIONS

CALIBRATION_FOLDS = 5  # as many as libsvm's own probabilities use


class CalibratedSvm:
    """An SVM whose probabilities are calibrated and whose classes are those of the SVM itself.

    The reference study uses `SVC(probability=True)`, which scikit-learn deprecates in favour of
    `CalibratedClassifierCV(SVC(), ensemble=False)`: Platt's sigmoid on out-of-fold decision values.
    As in the reference study, predicted classes are those of the SVM (one against one, by vote), so
    accuracies do not depend on the calibration.

    Args:
        kernel: The SVM's kernel.
        settings: Its parameters.

    Examples:
        >>> model = CalibratedSvm("linear", TrialSettings()).fit(samples.features, samples.labels)
        >>> model.probabilities(samples.features[:2]).shape
        (2, 8)
    """

    def __init__(self, kernel: Kernel, settings: TrialSettings) -> None:
        self._kernel, self._settings = kernel, settings

    def fit(
        self,
        features: NDArray[np.float64],
        labels: NDArray[np.int8],
        copies: NDArray[np.float64] | None = None,
    ) -> "CalibratedSvm":
        """Fit and calibrate the SVM.

        Classes with a single image are excluded, as they cannot be calibrated. Calibration folds
        are stratified and not shuffled; their number is that of the smallest class's images, at
        most five.

        Args:
            features: (n, width).
            labels: Class codes (n,).
            copies: Features of augmented copies (copies, n, width), which are always in the same
                calibration fold as their image.
        """
        counts = np.bincount(labels, minlength=len(EMOTIONS))
        usable = counts[labels] >= 2
        n_folds = int(min(CALIBRATION_FOLDS, counts[counts >= 2].min()))
        features, labels = features[usable], labels[usable]
        n_copies = 0 if copies is None else len(copies)
        cv = stratified_folds(labels, n_folds, n_copies) if n_copies else n_folds
        if copies is not None:
            features = np.concatenate([features, *copies[:, usable]])
        estimator = build_svm(self._kernel, self._settings, features.shape[1])
        calibrated = CalibratedClassifierCV(estimator, ensemble=False, cv=cv)
        self._calibrated = calibrated.fit(features, np.tile(labels, 1 + n_copies))
        self._svm = calibrated.calibrated_classifiers_[0].estimator
        report_limit(self._svm)
        return self

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.int8]:
        """Predict class codes (n,) from features (n, width)."""
        return np.asarray(self._svm.predict(features), dtype=np.int8)

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Predict probabilities (n, 8) by class code; 0 for classes that were not trained."""
        probabilities = np.zeros((len(features), len(EMOTIONS)))
        probabilities[:, self._calibrated.classes_] = self._calibrated.predict_proba(features)
        return probabilities


def build_svm(
    kernel: Kernel,
    settings: TrialSettings,
    n_features: int,
    decisions: Literal["ovr", "ovo"] = "ovr",
) -> SVC | LinearSvm | Pipeline:
    """Build an SVM that is not fitted yet, behind its scaler if it has one.

    Args:
        kernel: The SVM's kernel.
        settings: Its parameters, with a number for C.
        n_features: Number of features.
        decisions: What its decision function returns: votes of each class (ovr) or the decision
            value of each pair of classes (ovo). Both predict the same classes.
    """
    shared: dict[str, Any] = {
        "C": settings.C,
        "tol": settings.tol,
        "class_weight": "balanced" if settings.class_weight == "balanced" else None,
        "decision_function_shape": decisions,
    }
    if kernel == "linear" and settings.scale == "equal":  # for unions, which are wide
        svm = LinearSvm(**shared)
    else:
        svm = SVC(
            kernel=kernel, gamma=settings.gamma, degree=settings.degree, max_iter=MAX_ITERATIONS,
            **shared,
        )  # fmt: skip
    scaler = feature_scaler(settings, n_features)
    return svm if scaler is None else make_pipeline(scaler, svm)


def feature_scaler(settings: TrialSettings, n_features: int) -> StandardScaler | None:
    """Create the scaler of an SVM's features; None without scaling."""
    if settings.scale == "equal":
        return SetScaler(widths_of(settings.feature_set, n_features), settings.set_weights)
    return StandardScaler() if settings.scale == "standard" else None


def stratified_folds(
    labels: NDArray[np.int8], n_folds: int, n_copies: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Create calibration folds of n images followed by their augmented copies.

    An image and its copies are in the same part of each fold.

    Args:
        labels: Class codes of the images (n,).
        n_folds: Number of folds.
        n_copies: Number of copies of each image, which follow the images one set after another.

    Returns:
        Training and calibration rows of each fold.
    """
    starts = len(labels) * np.arange(1 + n_copies)[:, None]
    return [
        ((starts + train).ravel(), (starts + test).ravel())
        for train, test in StratifiedKFold(n_folds).split(labels, labels)
    ]
