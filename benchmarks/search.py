"""A search by the whole job against a plain joblib loop over the same fits.

    python -m benchmarks.search --out RUN_FOLDER [--configurations 200]

The run folder holds extracted frames; nothing in it is changed. The loop makes the same shared
matrices and fits in as many processes, keeps everything in memory, and cannot be resumed. It runs
before and after the job, since other work on the machine moves both.
"""

import argparse
import os
import shutil
import tempfile
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from benchmarks.report import Table, write_result
from fer_ray.evaluation.samples import Samples, read_samples
from fer_ray.evaluation.splits import inner_folds
from fer_ray.evaluation.trial_store import TrialResult
from fer_ray.execution.progress import silent
from fer_ray.execution.session import ray_closed_after
from fer_ray.models.nested import Candidate, answer, best_members, examine
from fer_ray.models.nested_search import SearchExperiment, plan_search
from fer_ray.pipelines.experiments import prepare
from fer_ray.pipelines.search import run_search
from fer_ray.settings.root import Execution
from fer_ray.settings.training import SearchSettings, TrialSettings

SPLITTING = TrialSettings(protocol="subject-10fold")
ALLOWED_RATIO, ALLOWED_SECONDS = 1.2, 10  # of the loop's time, and start-up


def main() -> None:
    """Time both, make sure that they agree, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="A run folder with frames.")
    parser.add_argument("--configurations", type=int, default=200)
    options = parser.parse_args()
    settings = SearchSettings(configurations=options.configurations)
    before, ours = loop(options.out, settings)
    job, theirs = whole_job(options.out, settings)
    after, _ = loop(options.out, settings)
    if not np.array_equal(ours, theirs):
        raise SystemExit("the two do not agree")
    plain = (before + after) / 2
    table = Table("nested search", "seconds")
    table.add("joblib loop, before", f"{before:.1f}")
    table.add("joblib loop, after", f"{after:.1f}")
    table.add("fer-ray search, Ray's start included", f"{job:.1f}")
    table.add("allowed", f"{ALLOWED_RATIO * plain + ALLOWED_SECONDS:.1f}")
    protocol = (
        f"{len(theirs)} images, {options.configurations} configurations × 10 subject folds × "
        f"{settings.inner_folds} inner folds = "
        f"{options.configurations * 10 * settings.inner_folds} fits and the answers' own, "
        f"{os.cpu_count()} processes. Both give the same predictions."
    )
    write_result("search", protocol, table)


def whole_job(out: Path, settings: SearchSettings) -> tuple[float, np.ndarray]:
    """Seconds of the job on a copy of the frames, and its answers by fold and image."""
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        copy = Path(scratch)
        shutil.copytree(out / "frames", copy / "frames")
        shutil.copy(out / "extract.json", copy)
        started = time.perf_counter()
        run_search(copy, settings, SPLITTING, Execution(), silent)
        seconds = time.perf_counter() - started
        predictions = pq.read_table(copy / "predictions")
        return seconds, predictions["predicted"].to_numpy()


def loop(out: Path, settings: SearchSettings) -> tuple[float, np.ndarray]:
    """Seconds of the plain loop, and its answers by fold and image."""
    started = time.perf_counter()
    ready = prepare(out, SPLITTING, settings.feature_sets[0])
    experiment = plan_search(settings, SPLITTING, ready.folds, ready.frames_key)
    by_set = {name: read_samples(out / "frames", name) for name in settings.feature_sets}
    folds = range(len(experiment.splits))
    workers = Parallel(n_jobs=os.cpu_count())
    examined = workers(
        delayed(examine_set)(experiment, by_set[name], name, fold)
        for fold in folds
        for name in settings.feature_sets
    )
    size = len(settings.feature_sets)
    by_fold: list[list[Candidate]] = [
        list(chain.from_iterable(examined[fold * size : (fold + 1) * size])) for fold in folds
    ]
    answers = workers(
        delayed(answer_fold)(experiment, by_set, found, fold) for fold, found in enumerate(by_fold)
    )
    seconds = time.perf_counter() - started
    return seconds, np.concatenate([result.predicted for result in answers])


def examine_set(
    experiment: SearchExperiment, samples: Samples, name: str, fold: int
) -> list[Candidate]:
    """The best candidate of each classifier on one feature set in one fold."""
    with threadpool_limits(1):
        train, settings = experiment.splits[fold].train, experiment.settings
        own = [one for one in experiment.configurations if one.feature_set == name]
        inner = inner_folds(samples, train, settings.inner_folds, experiment.seed)
        best: dict[str, Candidate] = {}
        for one in sorted(
            examine(own, samples, train, inner), key=lambda c: c.rank(settings.metric)
        ):
            best.setdefault(one.configuration.classifier, one)
        return list(best.values())


def answer_fold(
    experiment: SearchExperiment, by_set: dict[str, Samples], found: list[Candidate], fold: int
) -> TrialResult:
    """The answers of one fold by what is best inside its training part."""
    with threadpool_limits(1):
        split, settings = experiment.splits[fold], experiment.settings
        labels = next(iter(by_set.values())).labels[split.train]
        members = best_members(found, labels, settings.voters, settings.metric)
        return answer(members, by_set, split, time.perf_counter())


if __name__ == "__main__":
    main()
