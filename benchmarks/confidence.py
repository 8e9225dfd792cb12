"""Calibration, coverage of prediction sets and unusual faces on held-out people.

    python -m benchmarks.confidence --out RUN [--folds 10] [--other RUN2 ...]

RUN is a run folder with frames of labelled images; RUN2 are run folders of other images, extracted
with the same settings. Each fold holds out people (`sorted(subjects)[i::folds]`). Everything that
a bundle stores is fitted on the others, as `fer-ray bundle` does.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.report import Table, write_result
from fer_ray.evaluation import metrics
from fer_ray.evaluation.answers import UNUSUAL_P
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.evaluation.protocols.splits import Split, subject_folds
from fer_ray.models.bundles.confidence_fitting import confidence_of_svm, describe_samples
from fer_ray.models.bundles.predictor import stacked_features
from fer_ray.models.confidence.prediction_sets import in_prediction_set
from fer_ray.models.svm import CalibratedSvm
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.schemas import feature_column
from fer_ray.settings.feature_sets import sets_of
from fer_ray.settings.training import TRANSFER, TrialSettings
from fer_ray.storage.parquet import read_table
from fer_ray.vocabulary import EMOTIONS, USABLE_STATUSES

Floats = NDArray[np.float64]


@dataclass
class HeldOut:
    """Predictions for the images (n,) by models that were not trained on their person."""

    platt: Floats  # probabilities (n, 8)
    temperature: Floats
    platt_codes: NDArray[np.int8]
    in_set: NDArray[np.bool_]  # (n, 8)
    ood_scores: Floats
    p_values: Floats


def main() -> None:
    """Evaluate the folds and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--other", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    settings = TrialSettings.model_validate(TRANSFER)
    samples = read_samples(options.out / "frames", settings.feature_set)
    with threadpool_limits(1):
        held_out = predict_held_out_people(samples, settings, options.folds)
        unusual = unusual_faces(samples, held_out, settings, options.other)
    subjects = np.array([name or "" for name in samples.subjects], dtype=object)
    protocol = (
        f"{options.out.name}: {len(samples.labels)} images of {len(set(subjects))} people; linear "
        f"SVM with C = 1 on {settings.feature_set}, scale equal; {options.folds} folds by subject. "
        "Calibration error: 15 bins. By chance: the mean calibration error of a perfectly "
        "calibrated model with the same probabilities. Intervals: bootstrap over subjects."
    )
    tables = [
        calibration_table(samples, held_out),
        coverage_table(samples, held_out, subjects),
        unusual,
    ]
    write_result(f"confidence-{options.out.name}", protocol, *tables)


def predict_held_out_people(samples: Samples, settings: TrialSettings, n_folds: int) -> HeldOut:
    """Predict the images of each fold with models of the others."""
    count, classes = len(samples.labels), len(EMOTIONS)
    found = HeldOut(
        np.zeros((count, classes)), np.zeros((count, classes)), np.zeros(count, np.int8),
        np.zeros((count, classes), bool), np.zeros(count), np.zeros(count),
    )  # fmt: skip
    for fold in subject_folds([name or "" for name in samples.subjects], n_folds):
        _predict_fold(samples, settings, fold, found)
    return found


def _predict_fold(samples: Samples, settings: TrialSettings, fold: Split, found: HeldOut) -> None:
    train, test = fold.train, fold.test
    features = samples.features[test]
    platt = CalibratedSvm("linear", settings).fit(samples.features[train], samples.labels[train])
    found.platt[test], found.platt_codes[test] = (
        platt.probabilities(features), platt.predict(features),
    )  # fmt: skip
    model = TemperatureSvm("linear", settings).fit(samples, train)
    found.temperature[test] = model.probabilities(features)
    confidence = confidence_of_svm(model, samples)
    found.in_set[test] = in_prediction_set(found.temperature[test], confidence.set_threshold)
    faces = describe_samples(_select(samples, train), settings.feature_set)
    found.ood_scores[test] = faces.scores(features)
    found.p_values[test] = faces.p_values(found.ood_scores[test])


def _select(samples: Samples, rows: NDArray[np.int64]) -> Samples:
    return Samples(
        [samples.image_ids[row] for row in rows],
        [samples.subjects[row] for row in rows],
        samples.labels[rows],
        samples.features[rows],
    )


def calibration_table(samples: Samples, found: HeldOut) -> Table:
    """Accuracy, calibration error and log loss of both methods."""
    table = Table("calibration", "accuracy", "calibration error", "by chance", "log loss, nats")
    temperature_codes = found.temperature.argmax(axis=1)
    for name, probabilities, codes in (
        ("Platt, stratified folds", found.platt, found.platt_codes),
        ("temperature, folds by subject", found.temperature, temperature_codes),
    ):
        error = metrics.expected_calibration_error(samples.labels, probabilities)
        table.add(
            name, f"{np.mean(codes == samples.labels):.3f}", f"{error:.3f}",
            f"{metrics.chance_calibration_error(probabilities):.3f}",
            f"{metrics.log_loss(samples.labels, probabilities):.3f}",
        )  # fmt: skip
    return table


def coverage_table(samples: Samples, found: HeldOut, subjects: NDArray[np.object_]) -> Table:
    """Coverage and size of the prediction sets, and the accuracy gained by abstaining."""
    labels = samples.labels
    covered = found.in_set[np.arange(len(labels)), labels]
    low, high = metrics.subject_bootstrap_interval(covered, subjects, seed=0)
    sizes = found.in_set.sum(axis=1)
    answered = sizes == 1
    correct = found.temperature.argmax(axis=1) == labels
    table = Table("figure", "value")
    table.add("set coverage, nominal 0.9", f"**{covered.mean():.3f}** ({low:.3f}–{high:.3f})")
    table.add("classes per set", f"{sizes.mean():.2f}")
    table.add("abstained", f"{1 - answered.mean():.3f}")
    table.add("accuracy of all answers", f"{correct.mean():.3f}")
    table.add("accuracy without abstentions", f"{correct[answered].mean():.3f}")
    table.add(
        f"faces with ood_p_value ≤ {UNUSUAL_P}", f"{np.mean(found.p_values <= UNUSUAL_P):.3f}"
    )
    return table


def unusual_faces(
    samples: Samples, found: HeldOut, settings: TrialSettings, others: list[Path]
) -> Table:
    """How well distances distinguish the faces of other sources from those of held-out people."""
    table = Table("faces of", "images", "unusual", "ROC AUC against held-out people")
    faces = describe_samples(samples, settings.feature_set)
    for folder in others:
        distances = faces.scores(_features(folder, settings.feature_set))
        p_values = faces.p_values(distances)
        table.add(
            folder.name, str(len(distances)), f"{np.mean(p_values <= UNUSUAL_P):.3f}",
            f"{_roc_auc(found.ood_scores, distances):.3f}",
        )  # fmt: skip
    return table


def _features(folder: Path, feature_set: str) -> Floats:
    columns = [feature_column(name) for name in sets_of(feature_set)]
    usable = [("status", "in", [str(status) for status in USABLE_STATUSES])]
    return stacked_features(
        read_table(folder / "frames", columns=columns, filters=usable), feature_set
    )


def _roc_auc(usual: Floats, unusual: Floats) -> float:
    below = np.searchsorted(np.sort(usual), unusual)
    return float(np.mean(below / len(usual)))


if __name__ == "__main__":
    main()
