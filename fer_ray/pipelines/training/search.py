"""`fer-ray search`: nested search for the best classifier and features."""

import time
from pathlib import Path
from typing import Any

from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.trial_store import TrialStore
from fer_ray.evaluation.protocols.inner_splits import require_subjects
from fer_ray.execution.progress import Progress
from fer_ray.models.augmented_copies import with_mirrored
from fer_ray.models.nested_search import NestedSearch, plan_search, selected_configurations
from fer_ray.pipelines.training.experiments import prepare_trials, read_feature_sets, run_missing
from fer_ray.settings.root import Execution
from fer_ray.settings.training import SearchSettings, TrialSettings
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.run_folder import RunFolder


def read_searched_sets(
    out: Path, feature_sets: tuple[str, ...], splitting: TrialSettings
) -> dict[str, Samples]:
    """The samples with each feature set, with mirrored features where they exist."""
    by_set = read_feature_sets(out, feature_sets, splitting)
    return {name: with_mirrored(out, samples, name) for name, samples in by_set.items()}


def run_search(
    out: Path,
    settings: SearchSettings,
    splitting: TrialSettings,
    execution: Execution,
    progress: Progress,
    strict: bool = False,
    folds_file: Path | None = None,
) -> dict[str, Any]:
    """Search for the best classifier and features within the training part of each trial.

    Args:
        out: Run folder, locked by the caller.
        settings: What to search.
        splitting: Protocol, classes and seed.
        execution: Workers.
        progress: Displays the progress.
        strict: Reject splits that leak.
        folds_file: CSV file to write the splits to.

    Returns:
        The record, as in `search/EXPERIMENT.json`.

    Raises:
        UserError: There are no finished frames, they do not allow this search, or the splits leak
            and `strict` is set.
    """
    feature_sets = settings.feature_sets
    ready = prepare_trials(out, splitting, *feature_sets, strict=strict, folds_file=folds_file)
    require_subjects(ready.samples, ready.folds.splits)
    experiment = plan_search(settings, splitting, ready.folds, ready.frames_key)
    file = RunFolder(out).search_record(experiment.name)
    finished = read_json(file)
    if finished is not None and TrialStore(out, experiment).finished():
        return finished
    started = time.monotonic()
    by_set = read_searched_sets(out, feature_sets, splitting)
    search = NestedSearch(experiment, by_set, out)
    workers = run_missing(search, search.missing, out, execution, progress, "search", "items")
    search.assemble()
    record = {
        "experiment": experiment.name,
        "settings": settings.model_dump(mode="json"),
        "splitting": {
            **splitting.model_dump(mode="json", exclude={"kernels", "folds"}),
            "protocol": ready.folds.protocol,
        },
        "seconds": round(time.monotonic() - started, 3),
        "workers": workers,
        **ready.to_record(splitting.classes),
        "chosen": selected_configurations(out, experiment.name),
    }
    write_json(record, file)
    return record
