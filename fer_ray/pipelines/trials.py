"""TODO."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.evaluation import trial_store
from fer_ray.evaluation.experiment import SvmExperiment, plan_experiments
from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.trial_store import TrialStore
from fer_ray.execution.progress import Progress
from fer_ray.execution.runner import run_work
from fer_ray.models.augmented_copies import changed_copies
from fer_ray.models.svm import run_trial
from fer_ray.pipelines.experiments import prepare
from fer_ray.settings.root import Execution
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import write_json
from fer_ray.storage.run_folder import RunFolder, frames_record


@dataclass(frozen=True)
class SvmTrials:
    """All that a worker needs to do SVM trials; called with one, it does and keeps it.

    Attributes:
        experiments: What a trial may be of.
        samples: What to train and test on.
        copies: Features of changed copies (copies, n, width) of the same images; None: none.
        out: Run folder, the same on every node.
    """

    experiments: list[SvmExperiment]
    samples: Samples
    copies: NDArray[np.float64] | None
    out: Path

    def __call__(self, piece: tuple[int, int]) -> None:
        """Do one trial: the number of its experiment, and its own."""
        experiment, trial = self.experiments[piece[0]], piece[1]
        result = run_trial(
            experiment.kernel,
            experiment.settings,
            self.samples.features,
            self.samples.labels,
            experiment.splits[trial],
            self.copies,
        )
        TrialStore(self.out, experiment).keep(trial, self.samples, result)


def run_trials(
    out: Path,
    settings: TrialSettings,
    execution: Execution,
    progress: Progress,
    strict: bool = False,
    folds_file: Path | None = None,
) -> dict[str, Any]:
    """Run the trials that `settings` ask for and that `out` does not hold yet.

    Args:
        out: Run folder, held by the caller (`holding.run_folder`).
        settings: What to run.
        execution: Workers.
        progress: Shows how far it is.
        strict: Refuse splits that leak.
        folds_file: Where to write the splits, as CSV.

    Raises:
        UserError: There are no finished frames, they do not allow these trials, or the splits leak.
    """
    ready = prepare(out, settings, settings.feature_set, strict=strict, folds_file=folds_file)
    experiments = plan_experiments(settings, ready.folds, ready.frames_key)
    stores = [trial_store.TrialStore(out, experiment) for experiment in experiments]

    def left() -> list[tuple[int, int]]:
        return [
            (number, trial)
            for number, kept in enumerate(stores)
            if not kept.finished()
            for trial in kept.missing()
        ]

    tasks, started = left(), time.monotonic()
    copies = None
    if settings.augment:
        crop_px = frames_record(out)["settings"]["crop"]["size_px"]
        copies = changed_copies(RunFolder(out).frames, ready.samples, settings, crop_px)
    work = SvmTrials(experiments, ready.samples, copies, out.resolve())
    workers = run_work(work, left, out, execution, progress, "trials", "trials")
    for kept in stores:
        if not kept.finished():
            kept.assemble()
    record = {
        "settings": settings.model_dump(mode="json"),
        "trials_run": len(tasks),
        "seconds": round(time.monotonic() - started, 3),
        "workers": workers,
        **ready.told(settings.classes),
    }
    if tasks or not RunFolder(out).trials_record.is_file():
        write_json(record, RunFolder(out).trials_record)
    return record
