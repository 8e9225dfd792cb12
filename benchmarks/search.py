"""Duration of a nested search by the job, and by a plain joblib loop over the same fits.

    python -m benchmarks.search --out RUN [--configurations 200]

The run folder contains frames; it is not changed. The loop computes the same shared matrices and
fits in as many processes, stores everything in memory, and cannot be resumed. It runs before and
after the job, since other load on the machine affects both.
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
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.report import Table, write_result
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.trial_store import TrialResult
from fer_ray.evaluation.protocols.inner_splits import inner_folds
from fer_ray.execution.cluster.session import ray_closed_after
from fer_ray.execution.progress import silent
from fer_ray.models.candidates import Candidate, evaluate_candidates, fit_and_predict, select_voters
from fer_ray.models.nested_search import SearchExperiment, plan_search
from fer_ray.pipelines.training.experiments import prepare_trials
from fer_ray.pipelines.training.search import read_searched_sets, run_search
from fer_ray.settings.root import Execution
from fer_ray.settings.training import SearchSettings, TrialSettings

TRIALS = TrialSettings(protocol="subject-10fold")
ALLOWED_RATIO, ALLOWED_SECONDS = 1.2, 10  # relative to the loop; start-up

Predicted = NDArray[np.int8]


def main() -> None:
    """Time both, check that they agree, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a run folder with frames")
    parser.add_argument("--configurations", type=int, default=200)
    options = parser.parse_args()
    settings = SearchSettings(configurations=options.configurations)
    before, loop_predicted = time_loop(options.out, settings)
    job, job_predicted = time_job(options.out, settings)
    after, _ = time_loop(options.out, settings)
    if not np.array_equal(loop_predicted, job_predicted):
        raise SystemExit("The predictions of the job and of the loop differ.")
    loop = (before + after) / 2
    table = Table("nested search", "seconds")
    table.add("joblib loop, before", f"{before:.1f}")
    table.add("joblib loop, after", f"{after:.1f}")
    table.add("fer-ray search, start of Ray included", f"{job:.1f}")
    table.add("allowed", f"{ALLOWED_RATIO * loop + ALLOWED_SECONDS:.1f}")
    protocol = (
        f"{len(job_predicted)} images, {options.configurations} configurations × 10 subject folds "
        f"× {settings.inner_folds} inner folds = "
        f"{options.configurations * 10 * settings.inner_folds} fits, and those of the chosen "
        f"models; {os.cpu_count()} processes. Both give the same predictions."
    )
    write_result("search", protocol, table)


def time_job(out: Path, settings: SearchSettings) -> tuple[float, Predicted]:
    """Run the job on a copy of the frames.

    Returns:
        Seconds, and the predicted class codes (n,) by fold and image.
    """
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        copy = Path(scratch)
        shutil.copytree(out / "frames", copy / "frames")
        shutil.copy(out / "extract.json", copy)
        started = time.perf_counter()
        run_search(copy, settings, TRIALS, Execution(), silent)
        seconds = time.perf_counter() - started
        predictions = pq.read_table(copy / "predictions")
        return seconds, predictions["predicted"].to_numpy()


def time_loop(out: Path, settings: SearchSettings) -> tuple[float, Predicted]:
    """Run the plain loop. Returns the same as `time_job`."""
    started = time.perf_counter()
    prepared = prepare_trials(out, TRIALS, settings.feature_sets[0])
    experiment = plan_search(settings, TRIALS, prepared.folds, prepared.frames_key)
    by_set = read_searched_sets(out, settings.feature_sets, TRIALS)
    folds = range(len(experiment.splits))
    workers = Parallel(n_jobs=os.cpu_count())
    by_fold_and_set = workers(
        delayed(best_candidates)(experiment, by_set[name], name, fold)
        for fold in folds
        for name in settings.feature_sets
    )
    size = len(settings.feature_sets)
    by_fold: list[list[Candidate]] = [
        list(chain.from_iterable(by_fold_and_set[fold * size : (fold + 1) * size]))
        for fold in folds
    ]
    results = workers(
        delayed(predict_fold)(experiment, by_set, candidates, fold)
        for fold, candidates in enumerate(by_fold)
    )
    seconds = time.perf_counter() - started
    return seconds, np.concatenate([result.predicted for result in results])


def best_candidates(
    experiment: SearchExperiment, samples: Samples, name: str, fold: int
) -> list[Candidate]:
    """Find the best candidate of each classifier on one feature set in one fold."""
    with threadpool_limits(1):
        train, settings = experiment.splits[fold].train, experiment.settings
        configurations = [
            configuration
            for configuration in experiment.configurations
            if configuration.feature_set == name
        ]
        inner = inner_folds(samples, train, settings.inner_folds, experiment.seed)
        candidates = evaluate_candidates(configurations, samples, train, inner)
        best: dict[str, Candidate] = {}
        for candidate in sorted(candidates, key=lambda c: c.rank(settings.metric)):
            best.setdefault(candidate.configuration.classifier, candidate)
        return list(best.values())


def predict_fold(
    experiment: SearchExperiment,
    by_set: dict[str, Samples],
    candidates: list[Candidate],
    fold: int,
) -> TrialResult:
    """Predict the test part of a fold with the best candidates of its training part."""
    with threadpool_limits(1):
        split, settings = experiment.splits[fold], experiment.settings
        labels = next(iter(by_set.values())).labels[split.train]
        members = select_voters(candidates, labels, settings.voters, settings.metric)
        return fit_and_predict(members, by_set, split, time.perf_counter())


if __name__ == "__main__":
    main()
