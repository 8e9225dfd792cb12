"""How should the sets of a union be weighed? Subject-disjoint accuracy of several ways.

    python -m benchmarks.unions --out RUN [--foldings 8]

RUN is a run folder with frames of labelled images. Each folding shuffles the subjects and cuts them
into ten; all ways are trained and tested on the same folds.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.report import Table, write_result
from fer_ray.evaluation import metrics
from fer_ray.evaluation.samples import Samples, read_samples
from fer_ray.evaluation.splits import N_SUBJECT_FOLDS, subject_folds
from fer_ray.models.svm import run_trial
from fer_ray.settings.training import TrialSettings
from fer_ray.vocabulary import EMOTIONS

WAYS = (
    ("hog+landmarks", "standard"),
    ("hog+landmarks", "equal"),
    ("hog+geometry", "standard"),
    ("hog+geometry", "equal"),
    ("hog+landmarks+geometry", "standard"),
    ("hog+landmarks+geometry", "equal"),
)


def main() -> None:
    """Try each way on the same foldings, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--foldings", type=int, default=8)
    options = parser.parse_args()
    table = Table("features", "scale", "accuracy ± sd over foldings", "macro F1")
    for feature_set, scale in WAYS:
        samples = read_samples(options.out / "frames", feature_set)
        settings = TrialSettings.model_validate({"feature_set": feature_set, "scale": scale})
        found = np.array([folded(samples, settings, seed) for seed in range(options.foldings)])
        accuracy, f1 = found.T
        spread = f"{accuracy.mean():.3f} ± {accuracy.std(ddof=1):.3f}"
        table.add(feature_set, scale, spread, f"{f1.mean():.3f}")
    subjects = len(set(samples.subjects))
    protocol = (
        f"{options.out.name}: {len(samples.labels)} images of {subjects} people, linear SVM with "
        f"C = 1; means over {options.foldings} random foldings of the subjects into "
        f"{N_SUBJECT_FOLDS}, the same for each row."
    )
    write_result(f"unions-{options.out.name}", protocol, table)


def folded(samples: Samples, settings: TrialSettings, seed: int) -> tuple[float, float]:
    """Accuracy and macro F1 over all images, each answered by a model that knows no image of it."""
    names = sorted({name or "" for name in samples.subjects})
    numbers = np.random.default_rng(seed).permutation(len(names))
    shuffled = {name: f"{number:06d}" for name, number in zip(names, numbers, strict=True)}
    folds = subject_folds([shuffled[name or ""] for name in samples.subjects], N_SUBJECT_FOLDS)
    answers = np.zeros(len(samples.labels), np.int8)
    for fold in folds:
        result = run_trial("linear", settings, samples.features, samples.labels, fold)
        answers[fold.test] = result.predicted
    counts = metrics.confusion_counts(samples.labels, answers, len(EMOTIONS))
    return metrics.accuracy(samples.labels, answers), metrics.macro_f1(counts)


if __name__ == "__main__":
    main()
