"""Means of the calibrated probabilities of several classifiers, against the recommended recipe.

    python -m benchmarks.ensembles --out RUN [--mesh] [--people N]

RUN is a run folder with frames that contain the feature sets of the recipe. The protocol is that of
`recipe_choice`: 5 outer and 5 inner folds that share no subject. Each member chooses its penalty
and its temperature within the training part. The recipe is trained as `fer-ray run --recommended`
does, with its pairwise scores. All members train with mirrored copies and class weights, as the
recipe does. The last row decides within each training part whether to use an
ensemble: that with the lowest mean rank by macro recall and by log loss, if its rank is lower than
that of the recipe.
"""

import argparse
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from benchmarks.recipe_choice import (
    INNER_FOLDS,
    OUTER_FOLDS,
    Candidate,
    Judged,
    TrainingPart,
)
from benchmarks.recommended import FIGURES, RESAMPLES, describe, read_known
from benchmarks.report import Table, write_result
from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.splits import Split, subject_folds
from fer_ray.models.augmented_copies import with_mirrored
from fer_ray.models.candidates import accuracy_and_recall
from fer_ray.models.penalty import with_chosen_penalty
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.settings.feature_sets import sets_of
from fer_ray.settings.training import (
    RECOMMENDED,
    RECOMMENDED_WITH_MESH,
    Classifier,
    TrialSettings,
)
from fer_ray.vocabulary import EMOTIONS

Floats = NDArray[np.float64]

RECIPE = "recipe"  # the linear SVM on all feature sets of the recommended recipe
ENSEMBLES = (
    (RECIPE, "rbf"),
    (RECIPE, "logistic"),
    (RECIPE, "rbf", "logistic"),
    ("appearance", "shape"),
    (RECIPE, "appearance", "shape"),
)
CHOICE = "the choice of each training part"


@dataclass
class Fold:
    """What one outer fold says: its test images, and probabilities by member."""

    labels: NDArray[np.int8]  # of the training part
    judged: Judged
    seconds: dict[str, float]  # CPU time by member, to choose, calibrate and fit it


def members(mesh: bool) -> dict[str, Candidate]:
    """The members by name."""
    union = str((RECOMMENDED_WITH_MESH if mesh else RECOMMENDED)["feature_set"])
    appearance = "+".join(name for name in sets_of(union) if name.startswith("hog"))
    shape = "+".join(name for name in sets_of(union) if not name.startswith("hog"))

    def member(feature_set: str, classifier: Classifier = "svm-linear") -> Candidate:
        return Candidate(feature_set, (), mirror=True, balanced=True, classifier=classifier)

    return {
        RECIPE: member(union),
        "rbf": member(union, "svm-rbf"),
        "logistic": member(union, "logistic"),
        "appearance": member(appearance),
        "shape": member(shape),
    }


def judge_fold(out: Path, people: int | None, mesh: bool, fold: int) -> Fold:
    """Judge all members within the training part of an outer fold."""
    listed = members(mesh)
    samples = with_mirrored_of(out, people, mesh)
    split = subject_folds([str(name) for name in samples.subjects], OUTER_FOLDS)[fold]
    found = Fold(samples.labels[split.train], Judged(tested=split.test), {})
    with threadpool_limits(1):
        part = TrainingPart(samples, split.train, sets_of(listed[RECIPE].feature_set))
        for name, candidate in listed.items():
            started = time.process_time()
            if name == RECIPE:
                judge_recipe(samples, split, mesh, found.judged)
            else:
                part.judge(candidate, split.test, found.judged)
            found.seconds[name] = time.process_time() - started
    print(f"{out.name}: fold {fold} done", flush=True)
    return found


def judge_recipe(samples: Samples, split: Split, mesh: bool, judged: Judged) -> None:
    """Add the recipe, as it is trained in a trial, to what the training part says."""
    settings = TrialSettings.model_validate(RECOMMENDED_WITH_MESH if mesh else RECOMMENDED)
    assert samples.mirrored is not None
    copies = samples.mirrored[None]
    settings = with_chosen_penalty(settings, samples, split.train, copies)
    model = TemperatureSvm("linear", settings).fit(samples, split.train, copies)
    held_out = np.full((len(split.train), len(EMOTIONS)), np.nan)
    held_out[np.isin(split.train, model.trained)] = model.held_out_probabilities
    judged.held_out.append(held_out)
    judged.probabilities.append(model.probabilities(samples.features[split.test]))


def with_mirrored_of(out: Path, people: int | None, mesh: bool) -> Samples:
    """The samples with all feature sets of the recipe, and with their mirrored copies."""
    union = members(mesh)[RECIPE].feature_set
    return with_mirrored(out, read_known(out, union, people), union)


def choose(fold: Fold, rows: dict[str, list[int]]) -> str:
    """The recipe or an ensemble, by what the training part says."""
    figures = []
    for positions in rows.values():
        mean = np.mean([fold.judged.held_out[row] for row in positions], axis=0)
        known = np.isfinite(mean).all(axis=1)
        recall = accuracy_and_recall(fold.labels[known], mean[known])[1]
        figures.append((-recall, metrics.log_loss(fold.labels[known], mean[known])))
    ranks = np.mean([rankdata(column) for column in zip(*figures, strict=True)], axis=0)
    return list(rows)[int(ranks.argmin())]  # of equal ranks, the first: the recipe


def combine(folds: list[Fold], by_fold: list[list[int]], n_images: int) -> Floats:
    """Mean probabilities (n, 8) of the test images of all folds.

    Args:
        folds: The outer folds.
        by_fold: Positions of the members of each fold.
        n_images: Number of images.
    """
    probabilities = np.zeros((n_images, len(EMOTIONS)))
    for fold, positions in zip(folds, by_fold, strict=True):
        tested = [fold.judged.probabilities[row] for row in positions]
        probabilities[fold.judged.tested] = np.mean(tested, axis=0)
    return probabilities


def main() -> None:
    """Judge the members on each fold and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mesh", action="store_true")
    parser.add_argument("--people", type=int)
    options = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        work = partial(judge_fold, options.out, options.people, options.mesh)
        folds = list(pool.map(work, range(OUTER_FOLDS)))
    samples = with_mirrored_of(options.out, options.people, options.mesh)
    listed = members(options.mesh)
    names = list(listed)
    rows = {" + ".join(one): [names.index(name) for name in one] for one in ((RECIPE,), *ENSEMBLES)}
    chosen = [choose(fold, rows) for fold in folds]
    protocol = (
        f"{options.out.name}: {len(samples.labels)} images of {len(set(samples.subjects))} people; "
        f"{OUTER_FOLDS} outer and {INNER_FOLDS} inner folds by subject. An ensemble predicts the "
        "mean of the calibrated probabilities of its members. In parentheses: the difference to "
        "the recipe with its 95% interval, a paired bootstrap over people "
        f"({RESAMPLES} resamples)."
    )
    write_result(
        f"ensembles-{options.out.name}",
        protocol,
        _table_of_members(listed, folds),
        _table_of_tests(samples, folds, rows, chosen),
        _table_of_choices(chosen),
    )


def _table_of_members(listed: dict[str, Candidate], folds: list[Fold]) -> Table:
    table = Table("member", "classifier and features", "CPU seconds per training part")
    for name, candidate in listed.items():
        table.add(name, str(candidate), f"{np.mean([fold.seconds[name] for fold in folds]):.1f}")
    return table


def _table_of_tests(
    samples: Samples, folds: list[Fold], rows: dict[str, list[int]], chosen: list[str]
) -> Table:
    table = Table("probabilities", *FIGURES, "log loss", "calibration error")
    count = len(samples.labels)
    every = {
        **{name: [row] * len(folds) for name, row in rows.items()},
        CHOICE: [rows[name] for name in chosen],
    }
    first = combine(folds, every[RECIPE], count)
    for name, by_fold in every.items():
        probabilities = combine(folds, by_fold, count)
        baseline = None if name == RECIPE else first
        codes = [None if one is None else _codes(one) for one in (probabilities, baseline)]
        assert codes[0] is not None
        figures = [describe(samples, codes[0], codes[1], figure) for figure in FIGURES.values()]
        error = metrics.expected_calibration_error(samples.labels, probabilities)
        table.add(name, *figures, _describe_loss(samples, probabilities, baseline), f"{error:.3f}")
    return table


def _codes(probabilities: Floats) -> NDArray[np.int8]:
    codes: NDArray[np.int8] = probabilities.argmax(axis=1).astype(np.int8)
    return codes


def _describe_loss(samples: Samples, probabilities: Floats, baseline: Floats | None) -> str:
    """The mean log loss, and its difference from the baseline with a paired interval."""
    losses = metrics.image_log_losses(samples.labels, probabilities)
    if baseline is None:
        return f"{losses.mean():.3f}"
    gains = losses - metrics.image_log_losses(samples.labels, baseline)
    people = np.array(samples.subjects, dtype=object)
    low, high = metrics.subject_bootstrap_interval(gains, people, 0, n_resamples=RESAMPLES)
    return f"{losses.mean():.3f} ({gains.mean():+.3f}, {low:+.3f} to {high:+.3f})"


def _table_of_choices(chosen: list[str]) -> Table:
    table = Table("chosen in the training parts", "folds")
    for name, count in Counter(chosen).most_common():
        table.add(name, f"{count} of {len(chosen)}")
    return table


if __name__ == "__main__":
    main()
