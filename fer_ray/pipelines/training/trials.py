"""`fer-ray trials`: repeated training and testing of SVMs."""

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation.experiments.experiment import SvmExperiment, plan_experiments
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.trial_store import TrialStore
from fer_ray.evaluation.protocols.inner_splits import require_subjects
from fer_ray.execution.progress import Progress
from fer_ray.models.augmented_copies import training_copies
from fer_ray.pipelines.training.experiments import prepare_trials, run_missing
from fer_ray.settings.root import Execution
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import write_json
from fer_ray.storage.run_folder import RunFolder


@dataclass(frozen=True)
class SvmTrials:
    """Trials of SVMs, for a worker: call it with a trial to run and store it.

    Attributes:
        experiments: Experiments that the trials belong to.
        samples: Samples to train and test on.
        copies: Features of augmented copies (copies, n, width) of the same images, or None.
        out: Run folder, the same path on every node.
    """

    experiments: list[SvmExperiment]
    samples: Samples
    copies: NDArray[np.float64] | None
    out: Path

    def __call__(self, item: tuple[int, int]) -> None:
        """Run one trial, specified by the numbers of its experiment and of the trial."""
        from fer_ray.models.penalty import with_chosen_penalty
        from fer_ray.models.svm_trials import run_trial

        experiment, trial = self.experiments[item[0]], item[1]
        split = experiment.splits[trial]
        started = time.perf_counter()
        settings = with_chosen_penalty(experiment.settings, self.samples, split.train, self.copies)
        result = run_trial(
            experiment.kernel,
            settings,
            experiment.calibration,
            self.samples,
            split,
            self.copies,
            started,
        )
        TrialStore(self.out, experiment).write_trial(trial, self.samples, result)

    def missing(self) -> list[tuple[int, int]]:
        """Trials without a stored result."""
        stores = [TrialStore(self.out, experiment) for experiment in self.experiments]
        return [
            (number, trial)
            for number, store in enumerate(stores)
            if not store.finished()
            for trial in store.missing()
        ]

    def assemble(self) -> None:
        """Write the tables of the experiments that have none yet."""
        for experiment in self.experiments:
            store = TrialStore(self.out, experiment)
            if not store.finished():
                store.assemble()


def run_trials(
    out: Path,
    settings: TrialSettings,
    execution: Execution,
    progress: Progress,
    strict: bool = False,
    folds_file: Path | None = None,
) -> dict[str, Any]:
    """Run the trials of `settings` that `out` does not have yet.

    Args:
        out: Run folder, locked by the caller.
        settings: What to run.
        execution: Workers.
        progress: Displays the progress.
        strict: Reject splits that leak.
        folds_file: CSV file to write the splits to.

    Returns:
        The record, as in `trials.json`.

    Raises:
        UserError: There are no finished frames, they do not allow these trials, or the splits leak
            and `strict` is set.
    """
    ready = prepare_trials(
        out, settings, settings.feature_set, strict=strict, folds_file=folds_file
    )
    experiments = plan_experiments(settings, ready.folds, ready.frames_key)
    if settings.C == "auto":
        require_subjects(ready.samples, ready.folds.splits)
    started = time.monotonic()
    copies = training_copies(out, ready.samples, settings)
    trials = SvmTrials(experiments, ready.samples, copies, out)
    count = len(trials.missing())
    if count:  # loads scikit-learn, which a finished run does not need
        importlib.import_module("fer_ray.models.svm_trials")
    rows = len(ready.samples.labels) * (1 if copies is None else 1 + len(copies))
    workers = run_missing(
        trials, trials.missing, out, execution, progress, "trials", "trials", rows
    )
    trials.assemble()
    record = {
        "settings": settings.model_dump(mode="json"),
        "experiments": [experiment.name for experiment in experiments],
        "trials_run": count,
        "seconds": round(time.monotonic() - started, 3),
        "workers": workers,
        **ready.to_record(settings.classes),
    }
    file = RunFolder(out).trials_record
    if count or not file.is_file():
        write_json(record, file)
    return record
