"""An SVM whose probabilities are calibrated by a temperature, on people it was not trained on."""

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.inner_splits import calibration_folds
from fer_ray.evaluation.temperature import (
    Floats,
    TemperatureScaling,
    fit_temperature_scaling,
)
from fer_ray.settings.training import Kernel, TrialSettings
from fer_ray.vocabulary import EMOTIONS

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

SHARPNESSES = tuple(2.0**power for power in range(-3, 9))
F1_TOLERANCE = 0.01  # of macro F1, within which the sharpness with the lowest log loss is chosen


class TemperatureSvm:
    """An SVM whose class scores become probabilities by temperature scaling.

    The scores combine all pairwise decisions of the SVM (`pairwise_scores`). Their sharpness and
    scaling are fitted on folds without shared subjects (`inner_splits.calibration_folds`), because
    decisions about known people are better than those about new ones. The most probable class is
    predicted. Less sharp scores have a lower log loss but almost never predict rare classes, so the
    sharpness is chosen by macro F1 first.

    Args:
        kernel: The SVM's kernel.
        settings: Its parameters.

    Attributes:
        estimator: The fitted SVM, or a pipeline of a scaler and the SVM.
        sharpness: Factor of the pairwise decisions.
        scaling: Converts the scores to probabilities.
        trained: Indices of the images that the SVM was fitted on (n,).
        held_out_margins: Pairwise decisions (n, 8, 8) about these images (`pairwise_margins`) by
            SVMs that were not trained on them; NaN where no such SVM exists.
        by_subject: Whether the folds share no subject.

    Examples:
        >>> model = TemperatureSvm("linear", TrialSettings()).fit(samples, split.train)
        >>> model.probabilities(samples.features[:2]).shape
        (2, 8)
    """

    def __init__(self, kernel: Kernel, settings: TrialSettings) -> None:
        self._kernel, self._settings = kernel, settings

    @classmethod
    def from_fitted(
        cls, estimator: "BaseEstimator", sharpness: float, scaling: TemperatureScaling
    ) -> "TemperatureSvm":
        """Create a model from a fitted estimator, its sharpness and its scaling."""
        model = cls.__new__(cls)
        model.estimator, model.sharpness, model.scaling = estimator, sharpness, scaling
        return model

    def fit(
        self,
        samples: Samples,
        train: NDArray[np.int64],
        copies: NDArray[np.float64] | None = None,
    ) -> "TemperatureSvm":
        """Fit the SVM on the training images, and its calibration on folds of them.

        Classes with a single image are excluded, as they cannot be calibrated.

        Args:
            samples: Samples that include the training images.
            train: Their indices.
            copies: Features of augmented copies (copies, n, width) of all samples. An image and its
                copies are in the same part of each fold.
        """
        counts = np.bincount(samples.labels[train], minlength=len(EMOTIONS))
        train = train[counts[samples.labels[train]] >= 2]
        folds, self.by_subject = calibration_folds(samples, train)
        margins = np.full((len(train), len(EMOTIONS), len(EMOTIONS)), np.nan)
        for fold in folds:
            estimator = self._fit_svm(samples, train[fold.train], copies)
            margins[fold.test] = pairwise_margins(estimator, samples.features[train[fold.test]])
        self.trained, self.held_out_margins = train, margins
        self.sharpness, self.scaling = fit_calibration(samples.labels[train], margins)
        self.estimator = self._fit_svm(samples, train, copies)
        return self

    def _fit_svm(
        self, samples: Samples, rows: NDArray[np.int64], copies: NDArray[np.float64] | None
    ) -> "BaseEstimator":
        # Slow to import, and predicting needs less.
        from fer_ray.models.libsvm import report_limit
        from fer_ray.models.svm import build_svm

        features, labels = samples.features[rows], samples.labels[rows]
        if copies is not None:
            features = np.concatenate([features, *copies[:, rows]])
            labels = np.tile(labels, 1 + len(copies))
        estimator = build_svm(self._kernel, self._settings, features.shape[1], "ovo")
        estimator.fit(features, labels)
        report_limit(estimator)
        return estimator

    @property
    def classes(self) -> tuple[str, ...]:
        """The emotions that the model was trained on."""
        return tuple(EMOTIONS[code] for code in self.estimator.classes_)

    @property
    def held_out_scores(self) -> Floats:
        """Scores (n, 8) of the images `trained` from SVMs that were not trained on them."""
        return pairwise_scores(self.held_out_margins, self.sharpness)

    @property
    def held_out_probabilities(self) -> Floats:
        """Calibrated probabilities (n, 8) of `held_out_scores`."""
        return self.scaling.probabilities(self.held_out_scores)

    def predict(self, features: Floats) -> NDArray[np.int8]:
        """Predict class codes (n,), the most probable ones, from features (n, width)."""
        codes: NDArray[np.int8] = self.scores(features).argmax(axis=1).astype(np.int8)
        return codes

    def scores(self, features: Floats) -> Floats:
        """Compute scores (n, 8) by class code; −inf for classes that were not trained."""
        return pairwise_scores(pairwise_margins(self.estimator, features), self.sharpness)

    def probabilities(self, features: Floats) -> Floats:
        """Predict probabilities (n, 8) by class code; 0 for classes that were not trained."""
        return self.scaling.probabilities(self.scores(features))


def fit_calibration(
    labels: NDArray[np.int8], margins: Floats, tolerance: float = F1_TOLERANCE
) -> tuple[float, TemperatureScaling]:
    """Find the sharpness and the scaling with the lowest log loss at the best macro F1.

    Args:
        labels: Class codes (n,).
        margins: Pairwise decisions (n, 8, 8) of SVMs that were not trained on the images.
        tolerance: Of macro F1. With infinity, the log loss alone decides.
    """
    candidates = []
    for sharpness in SHARPNESSES:
        scores = pairwise_scores(margins, sharpness)
        scaling = fit_temperature_scaling(labels, scores)
        known = np.isfinite(scores).any(axis=1)
        loss = metrics.log_loss(labels[known], scaling.probabilities(scores[known]))
        predicted = scores[known].argmax(axis=1).astype(np.int8)
        _, f1 = metrics.macro_recall_and_f1(labels[known], predicted)
        candidates.append((f1, loss, sharpness, scaling))
    best = max(f1 for f1, *_ in candidates)
    _, _, sharpness, scaling = min(
        (one for one in candidates if one[0] >= best - tolerance), key=lambda one: one[1]
    )
    return sharpness, scaling


def pairwise_margins(estimator: "BaseEstimator", features: Floats) -> Floats:
    """Compute the decision value of each pair of classes (n, 8, 8) of a fitted SVM.

    Args:
        estimator: From `build_svm` with pairwise decisions, fitted.
        features: (n, width).

    Returns:
        By class codes, positive if the first class is preferred to the second; NaN for classes that
        were not trained, and for a class and itself.
    """
    decided = estimator.decision_function(features)
    if decided.ndim == 1:  # two classes; scikit-learn then returns the decision for the second
        decided = -decided[:, None]
    margins = np.full((len(features), len(EMOTIONS), len(EMOTIONS)), np.nan)
    for pair, (first, second) in enumerate(combinations(estimator.classes_, 2)):
        margins[:, first, second] = decided[:, pair]
        margins[:, second, first] = -decided[:, pair]
    return margins


def pairwise_scores(margins: Floats, sharpness: float) -> Floats:
    """Combine the decision values of pairs of classes into one score per class.

    The logistic function of a decision value, times the sharpness, is taken as the probability of
    one class of the pair. The score of a class is the sum of the logarithms over all its pairs
    (products of pairwise probabilities: Price et al., Pairwise neural network classifiers with
    probabilistic outputs, NIPS 1994). Votes, which the SVM itself counts, discard how clear each
    decision is.

    Args:
        margins: From `pairwise_margins` (n, 8, 8).
        sharpness: Factor of the decision values.

    Returns:
        Scores (n, 8); −inf for classes that were not trained.
    """
    with np.errstate(invalid="ignore"):  # NaN for classes that were not trained
        logs = -np.logaddexp(0, -sharpness * margins)
    scores = np.zeros(margins.shape[:2])
    for other in range(margins.shape[2]):  # sums in this order for any number of rows
        scores += np.nan_to_num(logs[:, :, other], nan=0.0)
    scores[np.isnan(margins).all(axis=2)] = -np.inf
    return scores
