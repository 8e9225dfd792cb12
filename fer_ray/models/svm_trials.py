"""Trials of SVMs: train on one part of a split, and score both parts."""

import time

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.trial_store import TrialResult, score_trial
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.models.svm import CalibratedSvm
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.settings.training import Calibration, Kernel, TrialSettings


def run_trial(
    kernel: Kernel,
    settings: TrialSettings,
    calibration: Calibration,
    samples: Samples,
    split: Split,
    copies: NDArray[np.float64] | None = None,
    started: float | None = None,
) -> TrialResult:
    """Train on the training part of a split and score both parts.

    Args:
        kernel: The SVM's kernel.
        settings: Its parameters.
        calibration: How its scores become probabilities.
        samples: The images.
        split: Indices into them.
        copies: Features of augmented copies (copies, n, width). Copies of training images are added
            to the training part.
        started: `time.perf_counter()` at the beginning of the trial, if its settings were chosen
            first.
    """
    started = time.perf_counter() if started is None else started
    model = _fit(kernel, settings, calibration, samples, split.train, copies)
    rows = np.concatenate([split.train, split.test])
    features = samples.features[rows]
    predicted, probabilities = model.predict(features), model.probabilities(features)
    seconds = time.perf_counter() - started
    return score_trial(samples.labels[rows], probabilities, len(split.train), seconds, predicted)


def _fit(
    kernel: Kernel,
    settings: TrialSettings,
    calibration: Calibration,
    samples: Samples,
    train: NDArray[np.int64],
    copies: NDArray[np.float64] | None,
) -> CalibratedSvm | TemperatureSvm:
    if calibration == "temperature":
        return TemperatureSvm(kernel, settings).fit(samples, train, copies)
    train_copies = None if copies is None else copies[:, train]
    model = CalibratedSvm(kernel, settings)
    return model.fit(samples.features[train], samples.labels[train], train_copies)
