"""Replacement of a table of bottleneck features, and of the experiments trained on the old one.

Nothing is replaced before the new table is finished, so an error or a stop loses nothing.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer_ray.evaluation.experiments.trial_store import read_fit_settings
from fer_ray.networks.bottleneck.bottleneck_plan import BottleneckPlan
from fer_ray.settings.feature_sets import UNION, base_of
from fer_ray.storage.files import read_json, remove, write_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import ROWS_PER_FILE, Merge, StagedRows, remove_superseded
from fer_ray.vocabulary import SCHEMA_VERSION, Origin

FILE_BYTES = 268_435_456  # of a finished file's features


def finish_table(
    out: Path,
    plan: BottleneckPlan,
    staged: StagedRows,
    job: dict[str, Any],
    run_merges: Callable[[list[Merge]], None],
) -> dict[str, Any]:
    """Join the blocks into the table, and write its record, which marks it as finished.

    Args:
        out: Run folder.
        plan: What was computed.
        staged: All blocks of the table.
        job: Figures of the job for the record: rows and seconds.
        run_merges: Writes the files of a table that has several.

    Returns:
        The record.
    """
    run, name = RunFolder(out), plan.table_name
    bytes_per_row = 4 * plan.spec.n_features(plan.maps)
    rows_per_file = min(ROWS_PER_FILE, max(1, FILE_BYTES // bytes_per_row))
    table = run.bottleneck_table(name)
    staged.require_all(job["rows"])
    files = staged.assemble(table, plan.schema, rows_per_file, run_merges)
    previous = read_json(run.bottleneck_record(name))
    if previous is not None and previous["key"] != plan.key:
        _remove_experiments(out, plan)
    remove(run.bottleneck_record(name))
    remove_superseded(table, files)
    record = {**_describe(plan), **job, "files": files}
    write_json(record, run.bottleneck_record(name))
    staged.remove()
    for path in (run.previous_record(name), run.previous_table(name)):
        remove(path)
    return record


def _describe(plan: BottleneckPlan) -> dict[str, Any]:
    spec = plan.spec
    published = plan.weights.origin in (Origin.IMAGENET, Origin.EMBEDDED)
    licence = spec.licence if published else "set by the owner of the file"
    return {
        "schema_version": SCHEMA_VERSION,
        "key": plan.key,
        "features_key": plan.features_key,
        "frames": plan.frames_key,
        "backbone": plan.name,
        "numbers": spec.n_features(plan.maps),
        "map_shape": spec.map_shape if plan.maps else None,
        "input_px": spec.input_px,
        "preprocessing": spec.preprocessing,
        "weights": {**plan.weights.record(), "licence": licence},
        "draws": plan.draws,
        "drawn": None if plan.drawn_ids is None else len(plan.drawn_ids),
        "augmentation": plan.augmentation.model_dump() if plan.draws else None,
        "network": spec.file_network and spec.file_network.model_dump(mode="json"),
    }


def _remove_experiments(out: Path, plan: BottleneckPlan) -> None:
    """Remove the experiments trained on the table that is replaced. None are trained on maps."""
    if plan.maps:
        return
    run = RunFolder(out)
    for name in run.experiments():
        if _uses_table(run.trials_of(name), plan):
            for path in run.files_of(name):
                remove(path)
    for name, logs in run.search_logs():  # logs of interrupted searches
        has_backbone = plan.name in re.split(r"[-+=,.]", name)
        if has_backbone and not run.trials_of(name).exists():
            remove(logs)


def _uses_table(trials: Path, plan: BottleneckPlan) -> bool:
    """Return whether an experiment was trained on the table; on draws, only some heads are."""
    column = read_table(trials, columns=["feature_set"])["feature_set"]
    settings = read_fit_settings(trials)
    used = settings.get("search", {}).get("feature_sets") or column.unique().to_pylist()
    if plan.name not in {base_of(part) for name in used for part in name.split(UNION)}:
        return False
    head = settings.get("head") or settings.get("head_search") or {}
    return not plan.draws or bool(head.get("draws"))
