"""The recommended recipe against the linear SVM on `hog+landmarks+geometry`, on the same folds.

    python -m benchmarks.recommended --out RUN [--people N] [--mesh]

RUN is a run folder with frames that contain the feature sets of both. Both are tested on the folds
`sorted(subjects)[i::10]`. An image of unknown subject counts as a separate subject. With
`--people`, only the images of N people, drawn at random, take part. With `--mesh`, for frames of
`--profile mesh`, the recipe with blendshapes is tested as well.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.report import Table, write_result
from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.evaluation.protocols.splits import N_SUBJECT_FOLDS, subject_folds
from fer_ray.models.augmented_copies import training_copies
from fer_ray.models.penalty import with_chosen_penalty
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.settings.training import RECOMMENDED, RECOMMENDED_WITH_MESH, TrialSettings

BASELINE = {"feature_set": "hog+landmarks+geometry", "scale": "equal", "kernels": ("linear",)}
VARIANTS = {
    "`hog+landmarks+geometry`, C = 1 (baseline)": BASELINE,
    "the same with mirrored copies, class weights and chosen C": {
        **RECOMMENDED,
        "feature_set": BASELINE["feature_set"],
    },
    "recommended": RECOMMENDED,
}
WITH_MESH = {
    "`hog+landmarks+geometry`, C = 1 (baseline)": BASELINE,
    "recommended": RECOMMENDED,
    "recommended with blendshapes": RECOMMENDED_WITH_MESH,
}
RESAMPLES = 2_000

Codes = NDArray[np.int8]
Figure = Callable[[Codes, Codes], float]

FIGURES: dict[str, Figure] = {
    "accuracy": metrics.accuracy,
    "macro recall": lambda labels, predicted: metrics.macro_recall_and_f1(labels, predicted)[0],
    "macro F1": lambda labels, predicted: metrics.macro_recall_and_f1(labels, predicted)[1],
}


def main() -> None:
    """Evaluate each variant and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int)
    parser.add_argument("--mesh", action="store_true")
    options = parser.parse_args()
    table = Table("training", *FIGURES)
    baseline: Codes | None = None
    for name, content in (WITH_MESH if options.mesh else VARIANTS).items():
        settings = TrialSettings.model_validate(content)
        samples = read_known(options.out, settings.feature_set, options.people)
        predicted = cross_validate(options.out, samples, settings)
        table.add(
            name, *(describe(samples, predicted, baseline, figure) for figure in FIGURES.values())
        )
        baseline = predicted if baseline is None else baseline
    protocol = (
        f"{options.out.name}: {len(samples.labels)} images of {len(set(samples.subjects))} people; "
        f"calibrated linear SVMs, {N_SUBJECT_FOLDS} folds, "
        f"`sorted(subjects)[i::{N_SUBJECT_FOLDS}]`. In parentheses: the difference to the baseline "
        f"with its 95% interval, a paired bootstrap over people ({RESAMPLES} resamples)."
    )
    write_result(f"recommended-{options.out.name}", protocol, table)


def read_known(out: Path, feature_set: str, people: int | None, left_out: int = 0) -> Samples:
    """The samples of all or some people; an image of unknown subject counts as a separate subject.

    Args:
        out: Run folder.
        feature_set: Their features.
        people: Number of people, drawn at random.
        left_out: Number of people who are drawn before them and left out.
    """
    samples = read_samples(out / "frames", feature_set)
    names = np.array([name or f"image {row}" for row, name in enumerate(samples.subjects)])
    drawn = np.random.default_rng(0).permutation(np.unique(names))[left_out:][:people]
    rows = np.flatnonzero(np.isin(names, drawn))
    image_ids = [samples.image_ids[row] for row in rows]
    return Samples(image_ids, names[rows].tolist(), samples.labels[rows], samples.features[rows])


def cross_validate(out: Path, samples: Samples, settings: TrialSettings) -> Codes:
    """Predict each image with a calibrated SVM that was trained on other subjects."""
    predicted = np.zeros(len(samples.labels), np.int8)
    copies = training_copies(out, samples, settings)
    names = [str(name) for name in samples.subjects]
    with threadpool_limits(1):
        for fold in subject_folds(names, N_SUBJECT_FOLDS):
            chosen = with_chosen_penalty(settings, samples, fold.train, copies)
            model = TemperatureSvm("linear", chosen).fit(samples, fold.train, copies)
            predicted[fold.test] = model.predict(samples.features[fold.test])
    return predicted


def describe(samples: Samples, predicted: Codes, baseline: Codes | None, figure: Figure) -> str:
    """A figure, and its difference from the baseline with a paired bootstrap interval."""
    value = figure(samples.labels, predicted)
    if baseline is None:
        return f"{value:.3f}"
    _, people = np.unique(np.array(samples.subjects, dtype=str), return_inverse=True)
    by_person = [np.flatnonzero(people == person) for person in range(people.max() + 1)]
    generator, differences = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        drawn = generator.integers(len(by_person), size=len(by_person))
        rows = np.concatenate([by_person[person] for person in drawn])
        labels = samples.labels[rows]
        differences.append(figure(labels, predicted[rows]) - figure(labels, baseline[rows]))
    low, high = np.quantile(differences, [0.025, 0.975])
    difference = value - figure(samples.labels, baseline)
    return f"{value:.3f} ({difference:+.3f}, {low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
