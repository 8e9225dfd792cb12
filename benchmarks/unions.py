"""Subject-disjoint accuracy of unions of feature sets, by how their sets are weighted.

    python -m benchmarks.unions --out RUN [--foldings 8]

RUN is a run folder with frames of labelled images. Each folding shuffles the subjects and divides
them into ten folds. All combinations are trained and tested on the same folds.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Table, write_result
from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.evaluation.protocols.splits import N_SUBJECT_FOLDS, subject_folds
from fer_ray.models.svm_trials import run_trial
from fer_ray.settings.training import TrialSettings

COMBINATIONS = (  # feature set and scale
    ("hog+landmarks", "standard"),
    ("hog+landmarks", "equal"),
    ("hog+geometry", "standard"),
    ("hog+geometry", "equal"),
    ("hog+landmarks+geometry", "standard"),
    ("hog+landmarks+geometry", "equal"),
)


def main() -> None:
    """Evaluate each combination on the same foldings and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--foldings", type=int, default=8)
    options = parser.parse_args()
    table = Table("features", "scale", "accuracy ± sd over foldings", "macro F1")
    for feature_set, scale in COMBINATIONS:
        samples = read_samples(options.out / "frames", feature_set)
        settings = TrialSettings.model_validate({"feature_set": feature_set, "scale": scale})
        figures = np.array(
            [cross_validate(samples, settings, seed) for seed in range(options.foldings)]
        )
        accuracy, f1 = figures.T
        table.add(feature_set, scale, format_spread(accuracy), f"{f1.mean():.3f}")
    subjects = len(set(samples.subjects))
    protocol = (
        f"{options.out.name}: {len(samples.labels)} images of {subjects} people, linear SVM with "
        f"C = 1; means over {options.foldings} random foldings of the subjects into "
        f"{N_SUBJECT_FOLDS}, the same for each row."
    )
    write_result(f"unions-{options.out.name}", protocol, table)


def cross_validate(samples: Samples, settings: TrialSettings, seed: int) -> tuple[float, float]:
    """Predict each image with a linear SVM that was trained on other subjects.

    Args:
        samples: All images.
        settings: Settings of the SVM.
        seed: Seed of the folding.

    Returns:
        Accuracy and macro F1 over all images.
    """
    names = sorted({name or "" for name in samples.subjects})
    numbers = np.random.default_rng(seed).permutation(len(names))
    shuffled = {name: f"{number:06d}" for name, number in zip(names, numbers, strict=True)}
    folds = subject_folds([shuffled[name or ""] for name in samples.subjects], N_SUBJECT_FOLDS)
    predicted = np.zeros(len(samples.labels), np.int8)
    for fold in folds:
        result = run_trial("linear", settings, "platt", samples, fold)
        predicted[fold.test] = result.predicted
    _, f1 = metrics.macro_recall_and_f1(samples.labels, predicted)
    return float(np.mean(samples.labels == predicted)), f1


def format_spread(values: NDArray[np.float64]) -> str:
    """Mean and standard deviation as text."""
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


if __name__ == "__main__":
    main()
