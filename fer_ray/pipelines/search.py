"""TODO."""

import time
from pathlib import Path
from typing import Any

from fer_ray.evaluation import splits, trial_store
from fer_ray.execution.progress import Progress
from fer_ray.execution.runner import run_work
from fer_ray.models import nested_search
from fer_ray.pipelines.experiments import _paired, _samples, prepare
from fer_ray.settings.root import Execution
from fer_ray.settings.training import SearchSettings, TrialSettings
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.run_folder import RunFolder


def run_search(
    out: Path,
    settings: SearchSettings,
    splitting: TrialSettings,
    execution: Execution,
    progress: Progress,
    strict: bool = False,
    folds_file: Path | None = None,
) -> dict[str, Any]:
    """Search for the best classifier and features, inside the training part of each trial.

    Args:
        out: Run folder, held by the caller (`holding.run_folder`).
        settings: What to search.
        splitting: Protocol, classes and seed.
        execution: Workers.
        progress: Shows how far it is.
        strict: Refuse splits that leak.
        folds_file: Where to write the splits, as CSV.

    Returns:
        The record, as `search/EXPERIMENT.json` holds it.

    Raises:
        UserError: There are no finished frames, they do not allow this, or the splits leak.
    """
    ready = prepare(out, splitting, *settings.feature_sets, strict=strict, folds_file=folds_file)
    splits.require_subjects(ready.samples, ready.folds.splits)
    experiment = nested_search.plan_search(settings, splitting, ready.folds, ready.frames_key)
    file = RunFolder(out).search_record(experiment.name)
    before = read_json(file)
    if before is not None and trial_store.TrialStore(out, experiment).finished():
        return before
    started = time.monotonic()
    paired = _paired(settings.feature_sets)
    by_set = {name: _samples(out, name, splitting, paired) for name in settings.feature_sets}
    work = nested_search.Search(experiment, by_set, out.resolve())
    workers = run_work(work, work.missing, out, execution, progress, "search", "pieces")
    work.assemble()
    record = {
        "experiment": experiment.name,
        "settings": settings.model_dump(mode="json"),
        "splitting": {
            **splitting.model_dump(mode="json", exclude={"kernels", "folds"}),
            "protocol": ready.folds.protocol,
        },
        "seconds": round(time.monotonic() - started, 3),
        "workers": workers,
        **ready.told(splitting.classes),
        "chosen": nested_search.chosen(out, experiment.name),
    }
    write_json(record, file)
    return record
