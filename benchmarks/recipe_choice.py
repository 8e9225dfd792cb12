"""The choice of the recommended recipe, by nested search on several sources.

    python -m benchmarks.recipe_choice --out RUN [RUN ...] [--mesh] [--left-out N] --name NAME

With `--left-out`, the last RUN lacks the N people whom `benchmarks.recommended --people N` draws,
so that these remain for an independent comparison.

Each RUN is a run folder with frames that contain the feature sets of `candidates`. The rule was
written before any result was known:

1. A candidate is a union of feature sets with their weights, with or without mirrored copies and
   class weights. Its SVM is linear.
2. Candidates are judged within a training part, by 5 inner folds that share no subject. The penalty
   of a candidate is that with the most correct images (`penalty.best_penalty`). Its decisions are
   calibrated as those of the recipe are (`temperature_svm.fit_calibration`).
3. Candidates are ranked by macro recall and by log loss on each source. The lowest mean of these
   ranks wins; of equal ones, the candidate with fewer features.

The training parts are those of 5 outer folds, which show what the rule is worth on other people,
and all images, which determine the recipe.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from benchmarks.recommended import FIGURES, describe, read_known
from benchmarks.report import Table, write_result
from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.inner_splits import inner_folds
from fer_ray.evaluation.protocols.splits import subject_folds
from fer_ray.evaluation.temperature import fit_temperature_scaling
from fer_ray.models.augmented_copies import with_mirrored
from fer_ray.models.candidate_fits import (
    PreparedFeatures,
    class_scores,
    prepare_sets,
    weight_sets,
)
from fer_ray.models.candidates import accuracy_and_recall
from fer_ray.models.configurations import Configuration
from fer_ray.models.penalty import PENALTIES, best_penalty
from fer_ray.models.temperature_svm import fit_calibration, pairwise_margins, pairwise_scores
from fer_ray.settings.feature_sets import FEATURE_SETS, sets_of, widths_of
from fer_ray.settings.training import Classifier
from fer_ray.vocabulary import EMOTIONS

OUTER_FOLDS, INNER_FOLDS = 5, 5
PYRAMID = "hog8+hog+hog32"
APPEARANCES = ("hog", PYRAMID, f"{PYRAMID}+hog_patches")
SHAPE = ("landmarks", "geometry")
BASELINE = ("hog+landmarks+geometry", (), False, False)
INCUMBENT = (f"{PYRAMID}+hog_patches+landmarks+geometry", (), True, True)
RBF_GAMMA = 0.5  # squared distances between images are about 2
SHOWN = 8  # candidates in the table, best first

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A union of feature sets, and how a classifier is trained on it."""

    feature_set: str
    set_weights: tuple[float, ...]
    mirror: bool
    balanced: bool
    classifier: Classifier = "svm-linear"

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(FEATURE_SETS[name].width for name in sets_of(self.feature_set))

    def __str__(self) -> str:
        weights = self.set_weights or (1,) * len(sets_of(self.feature_set))
        sets = [
            name if weight == 1 else f"{weight:g}·{name}"
            for name, weight in zip(sets_of(self.feature_set), weights, strict=True)
        ]
        options = [str(self.classifier)] * (self.classifier != "svm-linear")
        options += ["mirrored"] * self.mirror + ["class weights"] * self.balanced
        return ", ".join([f"`{' + '.join(sets)}`", *options])


def candidates(mesh: bool) -> list[Candidate]:
    """All candidates.

    With `mesh`, they are those with and without the feature sets of the face mesh, all with
    mirrored copies and class weights, which the choice without these sets found.
    """
    if mesh:
        return [
            Candidate(*BASELINE),
            *(Candidate(name, (), mirror=True, balanced=True) for name in _with_mesh_sets()),
        ]
    unions = [*_appearance_and_shape(), ("+".join(SHAPE), ())]
    switches = list(product((False, True), repeat=2))
    return [
        Candidate(*union, mirror, balanced) for union in unions for mirror, balanced in switches
    ]


def _appearance_and_shape() -> Iterator[tuple[str, tuple[float, ...]]]:
    for appearance, weight in product(APPEARANCES, (0.5, 1.0, 2.0)):
        sets = (*sets_of(appearance), *SHAPE)
        weights = tuple(weight if name in SHAPE else 1.0 for name in sets)
        yield "+".join(sets), weights if weight != 1 else ()


def _with_mesh_sets() -> Iterator[str]:
    shape = "+".join(SHAPE)
    for appearance in APPEARANCES:
        yield f"{appearance}+{shape}"
        yield f"{appearance}+blendshapes"
        yield f"{appearance}+{shape}+blendshapes"
        yield f"{appearance}+{shape}+mesh+blendshapes"
    yield "blendshapes"
    yield "mesh+blendshapes"


@dataclass
class Judged:
    """What one training part says of each candidate, and its predictions of other images.

    Attributes:
        recalls: Macro recall within the training part, by candidate.
        losses: Log loss, likewise.
        penalties: Chosen penalty, likewise.
        held_out: Probabilities of the training images (n, 8) from models that were not trained on
            them, by candidate; NaN without such a model.
        tested: Indices of the test images (m,).
        probabilities: Those of the test images (m, 8), by candidate.
    """

    recalls: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    penalties: list[float] = field(default_factory=list)
    held_out: list[Floats] = field(default_factory=list)
    tested: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    probabilities: list[Floats] = field(default_factory=list)


class TrainingPart:
    """Inner products of a training part with all images, for each set.

    Features are scaled by the training part. This uses no labels, so all inner folds share them.
    """

    def __init__(self, samples: Samples, train: NDArray[np.int64], names: tuple[str, ...]) -> None:
        assert samples.mirrored is not None
        self.samples, self.train = samples, train
        self.inner = inner_folds(samples, train, INNER_FOLDS, seed=0)
        widths = widths_of("+".join(names), samples.features.shape[1])
        plain, copies = samples.features[train], samples.mirrored[train]
        self._sets = {
            mirror: dict(zip(names, prepare_sets(fitted, samples.features, widths), strict=True))
            for mirror, fitted in ((False, plain), (True, np.concatenate([plain, copies])))
        }

    def judge(self, candidate: Candidate, test: NDArray[np.int64], judged: Judged) -> None:
        """Add a candidate to what the training part says."""
        sets = [self._sets[candidate.mirror][name] for name in sets_of(candidate.feature_set)]
        products = weight_sets(sets, candidate.set_weights)
        labels, n = self.samples.labels[self.train], len(self.train)
        by_penalty = []
        for penalty in PENALTIES:
            parts = [
                (fold.test, self._decide(candidate, products, fold.train, self.train[fold.test],
                                         penalty))
                for fold in self.inner
            ]  # fmt: skip
            decided = np.full((n, *parts[0][1].shape[1:]), np.nan)
            for rows, values in parts:
                decided[rows] = values
            by_penalty.append(decided)
        correct = [float((_most_votes(decided) == labels).sum()) for decided in by_penalty]
        best = best_penalty(np.array(correct))
        known = ~np.isnan(by_penalty[best]).reshape(n, -1).all(axis=1)
        to_probabilities = _calibrate(labels[known], by_penalty[best][known])
        probabilities = to_probabilities(by_penalty[best][known])
        judged.held_out.append(np.full((n, len(EMOTIONS)), np.nan))
        judged.held_out[-1][known] = probabilities
        judged.recalls.append(accuracy_and_recall(labels[known], probabilities)[1])
        judged.losses.append(metrics.log_loss(labels[known], probabilities))
        judged.penalties.append(PENALTIES[best])
        if len(test):
            tested = self._decide(candidate, products, np.arange(n), test, PENALTIES[best])
            judged.probabilities.append(to_probabilities(tested))

    def _decide(
        self, candidate: Candidate, products: PreparedFeatures, fitted: NDArray[np.int64],
        scored: NDArray[np.int64], penalty: float,
    ) -> Floats:  # fmt: skip
        """Fit a candidate to rows of the training part and apply it to other images.

        Returns:
            The pairwise decisions of a linear SVM (m, 8, 8), or the scores of another classifier
            (m, 8).
        """
        copies = 2 if candidate.mirror else 1
        rows = (len(self.train) * np.arange(copies)[:, None] + fitted).ravel()
        part = PreparedFeatures(
            products.gram[np.ix_(rows, rows)],
            products.cross[np.ix_(scored, rows)],
            products.squares[scored],
        )
        labels = np.tile(self.samples.labels[self.train[fitted]], copies)
        if candidate.classifier == "svm-linear":
            weight = "balanced" if candidate.balanced else None
            svm = SVC(kernel="precomputed", C=penalty, class_weight=weight,
                      decision_function_shape="ovo").fit(part.gram, labels)  # fmt: skip
            return pairwise_margins(svm, part.cross)
        parameters = {"C": penalty, "balanced": candidate.balanced, "gamma": RBF_GAMMA}
        configuration = Configuration(0, candidate.classifier, candidate.feature_set, parameters)
        return class_scores(configuration, part, labels)


def _most_votes(decided: Floats) -> NDArray[np.int64]:
    """The class with the most pairwise decisions, as an SVM counts them, or the highest score."""
    votes = (decided > 0).sum(axis=2) if decided.ndim == 3 else decided
    most: NDArray[np.int64] = votes.argmax(axis=1)
    return most


def _calibrate(labels: NDArray[np.int8], decided: Floats) -> Callable[[Floats], Floats]:
    """Fit what converts pairwise decisions or scores to probabilities (m, 8)."""
    if decided.ndim == 2:
        return fit_temperature_scaling(labels, decided).probabilities
    sharpness, scaling = fit_calibration(labels, decided)
    return lambda margins: scaling.probabilities(pairwise_scores(margins, sharpness))


def judge_part(out: Path, fold: int | None, mesh: bool, left_out: int) -> Judged:
    """Judge all candidates within the training part of an outer fold; None: all images."""
    listed = candidates(mesh)
    names = tuple(dict.fromkeys(name for one in listed for name in sets_of(one.feature_set)))
    union = "+".join(names)
    samples = with_mirrored(out, read_known(out, union, None, left_out), union)
    train, judged = np.arange(len(samples.labels)), Judged()
    if fold is not None:
        split = subject_folds([str(name) for name in samples.subjects], OUTER_FOLDS)[fold]
        train, judged.tested = split.train, split.test
    with threadpool_limits(1):
        part = TrainingPart(samples, train, names)
        for candidate in listed:
            part.judge(candidate, judged.tested, judged)
    print(f"{out.name}: fold {fold} done", flush=True)
    return judged


def mean_ranks(judged: list[Judged]) -> Floats:
    """The mean rank of each candidate over sources and both figures; 1 is the best."""
    ranks = [
        rankdata(values)
        for one in judged
        for values in (-np.array(one.recalls), np.array(one.losses))
    ]
    return np.asarray(np.mean(ranks, axis=0))


def order_candidates(listed: list[Candidate], ranks: Floats) -> list[int]:
    """Positions of the candidates, the best first."""
    return sorted(range(len(listed)), key=lambda row: (ranks[row], listed[row].width))


def main() -> None:
    """Judge the candidates on each source, choose by the rule, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, nargs="+", required=True)
    parser.add_argument("--mesh", action="store_true")
    parser.add_argument("--left-out", type=int, default=0)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    left_out = {out: options.left_out if out == options.out[-1] else 0 for out in options.out}
    listed = candidates(options.mesh)
    folds = [None, *range(OUTER_FOLDS)]
    items = list(product(options.out, folds))
    with ProcessPoolExecutor() as pool:
        without = [left_out[out] for out, _ in items]
        done = pool.map(judge_part, *zip(*items, strict=True), [options.mesh] * len(items), without)
    judged = dict(zip(items, done, strict=True))
    by_fold = {fold: mean_ranks([judged[out, fold] for out in options.out]) for fold in folds}
    order = {fold: order_candidates(listed, ranks) for fold, ranks in by_fold.items()}
    chosen = {fold: rows[0] for fold, rows in order.items()}
    protocol = (
        f"{len(listed)} candidates; {OUTER_FOLDS} outer and {INNER_FOLDS} inner folds by subject. "
        f"Sources: {', '.join(out.name for out in options.out)}. Tables: the candidates within all "
        "images, the best first; how often the rule chose a candidate in the outer folds; and "
        "figures on the test images of the outer folds, in parentheses the difference to the first "
        "row with its 95% interval, a paired bootstrap over people."
    )
    ranked = [judged[out, None] for out in options.out]
    tables = [
        _table_of_best(listed, order[None], by_fold[None], ranked, options.out),
        _table_of_choices(listed, [chosen[fold] for fold in range(OUTER_FOLDS)]),
        *(
            _table_of_tests(
                read_known(out, "landmarks", None, left_out[out]), out, listed, judged, chosen
            )
            for out in options.out
        ),
    ]
    write_result(options.name, protocol, *tables)


def _table_of_best(
    listed: list[Candidate], order: list[int], ranks: Floats, judged: list[Judged],
    runs: list[Path],
) -> Table:  # fmt: skip
    table = Table(
        "candidate", "mean rank", *(f"{run.name}: macro recall, log loss" for run in runs)
    )
    named = [listed.index(Candidate(*content)) for content in (BASELINE, INCUMBENT)]
    for row in [*order[:SHOWN], *(row for row in named if row not in order[:SHOWN])]:
        figures = [f"{one.recalls[row]:.3f}, {one.losses[row]:.3f}" for one in judged]
        table.add(str(listed[row]), f"{ranks[row]:.1f}", *figures)
    return table


def _table_of_choices(listed: list[Candidate], chosen: list[int]) -> Table:
    table = Table("chosen in the outer folds", "folds")
    for row, count in Counter(chosen).most_common():
        table.add(str(listed[row]), f"{count} of {OUTER_FOLDS}")
    return table


def _table_of_tests(
    samples: Samples,
    out: Path,
    listed: list[Candidate],
    judged: dict[tuple[Path, int | None], Judged],
    chosen: dict[int | None, int],
) -> Table:
    """Figures on the test images: baseline, incumbent, the chosen recipe, and the rule itself."""
    table = Table(f"{out.name}, {len(samples.labels)} images", *FIGURES, "log loss")
    baseline, final = listed.index(Candidate(*BASELINE)), chosen[None]
    rows: dict[str, dict[int | None, int]] = {
        str(listed[baseline]): dict.fromkeys(chosen, baseline),
        str(listed[listed.index(Candidate(*INCUMBENT))]): dict.fromkeys(
            chosen, listed.index(Candidate(*INCUMBENT))
        ),
        str(listed[final]): dict.fromkeys(chosen, final),
        "the choice of each fold": chosen,
    }
    first = None
    for name, by_fold in rows.items():
        probabilities = np.zeros((len(samples.labels), len(EMOTIONS)))
        for fold in range(OUTER_FOLDS):
            one = judged[out, fold]
            probabilities[one.tested] = one.probabilities[by_fold[fold]]
        predicted = probabilities.argmax(axis=1).astype(np.int8)
        figures = [describe(samples, predicted, first, figure) for figure in FIGURES.values()]
        table.add(name, *figures, f"{metrics.log_loss(samples.labels, probabilities):.3f}")
        first = predicted if first is None else first
    return table


if __name__ == "__main__":
    main()
