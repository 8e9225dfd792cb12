"""Answers of calibrated SVMs by the rule that chooses the sharpness of their scores.

    python -m benchmarks.answers_rule --out RUN [--mesh]

RUN is a run folder with frames that contain the feature sets of the recommended recipe; with
`--mesh`, also blendshapes. Everything is fitted on the training parts of the folds
`sorted(subjects)[i::10]`. An image of unknown subject counts as a separate subject.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.recommended import FIGURES, RESAMPLES, Codes, describe, read_known
from benchmarks.report import Table, write_result
from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.splits import N_SUBJECT_FOLDS, subject_folds
from fer_ray.evaluation.temperature import Floats
from fer_ray.models.augmented_copies import training_copies
from fer_ray.models.penalty import with_chosen_penalty
from fer_ray.models.temperature_svm import F1_TOLERANCE, TemperatureSvm, fit_calibration
from fer_ray.settings.training import RECOMMENDED, RECOMMENDED_WITH_MESH, TrialSettings
from fer_ray.vocabulary import EMOTIONS

LOWEST_LOSS = "most probable class, sharpness of the lowest log loss"
# Tolerances of macro F1.
RULES = {
    LOWEST_LOSS: math.inf,
    "most probable class, sharpness of the best macro F1 (used)": F1_TOLERANCE,
}
VOTES = "the SVM's own decision, by votes"


@dataclass
class Answers:
    """Predicted codes (n,) and probabilities (n, 8) of all images."""

    codes: Codes
    probabilities: Floats


def main() -> None:
    """Evaluate each rule and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mesh", action="store_true")
    options = parser.parse_args()
    recipe = RECOMMENDED_WITH_MESH if options.mesh else RECOMMENDED
    settings = TrialSettings.model_validate(recipe)
    samples = read_known(options.out, settings.feature_set, None)
    answers = cross_validate(options.out, samples, settings)
    table = Table("answer", *FIGURES, "log loss", "calibration error")
    for name, found in answers.items():
        baseline = None if name == LOWEST_LOSS else answers[LOWEST_LOSS].codes
        row = [describe(samples, found.codes, baseline, figure) for figure in FIGURES.values()]
        table.add(name, *row, *_calibration(samples, found, name))
    protocol = (
        f"{options.out.name}: {len(samples.labels)} images of {len(set(samples.subjects))} people; "
        f"recommended recipe, {N_SUBJECT_FOLDS} folds, `sorted(subjects)[i::{N_SUBJECT_FOLDS}]`. "
        "In parentheses: the difference to the first row with its 95% interval, a paired bootstrap "
        f"over people ({RESAMPLES} resamples)."
    )
    write_result(f"answers-rule-{options.out.name}", protocol, table)


def cross_validate(out: Path, samples: Samples, settings: TrialSettings) -> dict[str, Answers]:
    """Answers to each image, by rule, of models that were trained on other subjects."""
    n = len(samples.labels)
    answers = {
        name: Answers(np.zeros(n, np.int8), np.zeros((n, len(EMOTIONS))))
        for name in (*RULES, VOTES)
    }
    copies = training_copies(out, samples, settings)
    names = [str(name) for name in samples.subjects]
    with threadpool_limits(1):
        for fold in subject_folds(names, N_SUBJECT_FOLDS):
            chosen = with_chosen_penalty(settings, samples, fold.train, copies)
            tested = samples.features[fold.test]
            fitted = TemperatureSvm("linear", chosen).fit(samples, fold.train, copies)
            labels = samples.labels[fitted.trained]
            for name, tolerance in RULES.items():
                calibration = fit_calibration(labels, fitted.held_out_margins, tolerance)
                model = TemperatureSvm.from_fitted(fitted.estimator, *calibration)
                answers[name].codes[fold.test] = model.predict(tested)
                answers[name].probabilities[fold.test] = model.probabilities(tested)
            answers[VOTES].codes[fold.test] = fitted.estimator.predict(tested)
    return answers


def _calibration(samples: Samples, found: Answers, name: str) -> tuple[str, str]:
    if name == VOTES:  # has no probabilities
        return "", ""
    loss = metrics.log_loss(samples.labels, found.probabilities)
    error = metrics.expected_calibration_error(samples.labels, found.probabilities)
    return f"{loss:.3f}", f"{error:.3f}"


if __name__ == "__main__":
    main()
