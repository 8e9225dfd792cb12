"""A finished table of bottleneck features put in its place, and what rested on the one before gone.

Until then both are as they were: a mistake or a stop while features are computed costs nothing.
"""

import re
from pathlib import Path
from typing import Any

from fer_ray.evaluation.trial_store import read_recipe
from fer_ray.networks.bottleneck_plan import Bottleneck
from fer_ray.settings.feature_sets import UNION, base_of
from fer_ray.storage.files import read_json, remove, replace_folder, write_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import ROWS_PER_FILE, StagedRows
from fer_ray.vocabulary import SCHEMA_VERSION, Origin

FILE_BYTES = 268_435_456  # of a finished file's features


def finish(
    out: Path, wanted: Bottleneck, staged: StagedRows, job: dict[str, Any]
) -> dict[str, Any]:
    """Join the blocks into the table and write its record, which says that it is whole.

    Args:
        out: Run folder.
        wanted: What was computed.
        staged: All of its blocks.
        job: What the record says about the job: rows and seconds.

    Returns:
        The record.
    """
    run, name = RunFolder(out), wanted.table_name
    run.bottleneck.mkdir(exist_ok=True)
    bytes_per_row = 4 * wanted.spec.numbers(wanted.maps)
    rows = min(ROWS_PER_FILE, max(1, FILE_BYTES // bytes_per_row))
    made = run.bottleneck / f".{name}.made"
    staged.assemble(made, wanted.schema, rows)
    before = read_json(run.bottleneck_record(name))
    if before is not None and before["key"] != wanted.key:
        _forget_experiments(out, wanted)
    remove(run.bottleneck_record(name))
    replace_folder(made, run.bottleneck_table(name))
    record = {**_described(wanted), **job}
    write_json(record, run.bottleneck_record(name))
    staged.remove()
    return record


def _described(wanted: Bottleneck) -> dict[str, Any]:
    spec = wanted.spec
    published = wanted.weights.origin in (Origin.IMAGENET, Origin.EMBEDDED)
    licence = spec.licence if published else "that of the file's owner"
    return {
        "schema_version": SCHEMA_VERSION,
        "key": wanted.key,
        "frames": wanted.frames_key,
        "backbone": wanted.name,
        "numbers": spec.numbers(wanted.maps),
        "map_shape": spec.map_shape if wanted.maps else None,
        "input_px": spec.input_px,
        "preprocessing": spec.preprocessing,
        "weights": {**wanted.weights.record(), "licence": licence},
        "draws": wanted.draws,
        "drawn": None if wanted.drawn is None else len(wanted.drawn),
        "augmentation": wanted.augmentation.model_dump() if wanted.draws else None,
    }


def _forget_experiments(out: Path, wanted: Bottleneck) -> None:
    """Remove what was trained on the table that `wanted` replaces; on maps nothing is."""
    if wanted.maps:
        return
    run = RunFolder(out)
    for name in run.experiments():
        if _rests_on(run.trials_of(name), wanted):
            for path in run.files_of(name):
                remove(path)
    for name, logs in run.search_logs():  # of searches that were interrupted
        named = wanted.name in re.split(r"[-+=,.]", name)
        if named and not run.trials_of(name).exists():
            remove(logs)


def _rests_on(trials: Path, wanted: Bottleneck) -> bool:
    """Whether an experiment was trained on the table: of draws, heads that take some."""
    column = read_table(trials, columns=["feature_set"])["feature_set"]
    recipe = read_recipe(trials)
    taken = recipe.get("search", {}).get("feature_sets") or column.unique().to_pylist()
    if wanted.name not in {base_of(part) for one in taken for part in one.split(UNION)}:
        return False
    head = recipe.get("head") or recipe.get("head_search") or {}
    return not wanted.draws or bool(head.get("draws"))
