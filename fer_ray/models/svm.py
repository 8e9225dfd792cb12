"""Support vector machines with probabilities, and the figures of one trial."""

import time

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from fer_ray.evaluation.splits import Split
from fer_ray.evaluation.trial_store import TrialResult, trial_result
from fer_ray.models.scaling import SetScaler
from fer_ray.settings.feature_sets import widths_of
from fer_ray.settings.training import Kernel, TrialSettings
from fer_ray.vocabulary import EMOTIONS

CALIBRATION_FOLDS = 5  # as many as libsvm's own probabilities use


class CalibratedSvm:
    """An SVM whose classes come from its own decision and whose probabilities are calibrated.

    The study used `SVC(probability=True)`, which scikit-learn deprecates in favour of
    `CalibratedClassifierCV(SVC(), ensemble=False)`: Platt's sigmoid on out-of-fold decision values.
    Classes are, as with the study, those of the SVM itself (one against one, by vote), so that
    accuracies do not depend on the calibration.

    Attributes:
        calibrated: All of the fitted model, as scikit-learn has it.
    """

    def __init__(self, kernel: Kernel, settings: TrialSettings) -> None:
        svc = SVC(
            kernel=kernel,
            C=settings.C,
            gamma=settings.gamma,
            degree=settings.degree,
            tol=settings.tol,
        )
        scaler = _scaler(settings)
        self._estimator = svc if scaler is None else make_pipeline(scaler, svc)

    def fit(
        self,
        features: NDArray[np.float64],
        labels: NDArray[np.int8],
        copies: NDArray[np.float64] | None = None,
    ) -> "CalibratedSvm":
        """Fit on (n, width) features; a class with a single image cannot be calibrated: it is out.

        Calibration folds are stratified, unshuffled and as many as the smallest class allows, up to
        five. Changed copies (copies, n, width) go with their image into each of them.
        """
        counts = np.bincount(labels, minlength=len(EMOTIONS))
        kept = counts[labels] >= 2
        folds = int(min(CALIBRATION_FOLDS, counts[counts >= 2].min()))
        features, labels = features[kept], labels[kept]
        n_copies = 0 if copies is None else len(copies)
        cv = _folds_with_copies(labels, folds, n_copies) if n_copies else folds
        if copies is not None:
            features = np.concatenate([features, *copies[:, kept]])
        calibrated = CalibratedClassifierCV(self._estimator, ensemble=False, cv=cv)
        return self._hold(calibrated.fit(features, np.tile(labels, 1 + n_copies)))

    @classmethod
    def of(cls, calibrated: CalibratedClassifierCV) -> "CalibratedSvm":
        """The model that a fitted `calibrated` is all of."""
        return cls.__new__(cls)._hold(calibrated)

    def _hold(self, calibrated: CalibratedClassifierCV) -> "CalibratedSvm":
        self.calibrated = calibrated
        self._svm = calibrated.calibrated_classifiers_[0].estimator
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """The emotions that were trained."""
        return tuple(EMOTIONS[code] for code in self.calibrated.classes_)

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.int8]:
        """Class codes (n,)."""
        return np.asarray(self._svm.predict(features), dtype=np.int8)

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (n, 8) by class code; 0 for classes that were not trained."""
        full = np.zeros((len(features), len(EMOTIONS)))
        full[:, self.calibrated.classes_] = self.calibrated.predict_proba(features)
        return full


def _scaler(settings: TrialSettings) -> StandardScaler | None:
    if settings.scale == "equal":
        return SetScaler(widths_of(settings.feature_set))
    return StandardScaler() if settings.scale == "standard" else None


def _folds_with_copies(
    labels: NDArray[np.int8], folds: int, n_copies: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Calibration folds of n images followed by their copies, one set after another.

    An image and its copies train together, or calibrate together.
    """
    starts = len(labels) * np.arange(1 + n_copies)[:, None]
    return [
        ((starts + train).ravel(), (starts + test).ravel())
        for train, test in StratifiedKFold(folds).split(labels, labels)
    ]


def run_trial(
    kernel: Kernel,
    settings: TrialSettings,
    features: NDArray[np.float64],
    labels: NDArray[np.int8],
    split: Split,
    copies: NDArray[np.float64] | None = None,
) -> TrialResult:
    """Train on one part of a split and score both.

    Args:
        kernel: The SVM's kernel.
        settings: Its parameters.
        features: (n, width).
        labels: Class codes (n,).
        split: Indices into both.
        copies: Features of changed copies (copies, n, width); those of training images train too.
    """
    started = time.perf_counter()
    more = None if copies is None else copies[:, split.train]
    model = CalibratedSvm(kernel, settings).fit(features[split.train], labels[split.train], more)
    rows = np.concatenate([split.train, split.test])
    predicted, probabilities = model.predict(features[rows]), model.probabilities(features[rows])
    seconds = time.perf_counter() - started
    return trial_result(labels[rows], probabilities, len(split.train), seconds, predicted)
