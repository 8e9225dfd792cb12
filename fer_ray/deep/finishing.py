"""A finished table of bottleneck features put in its place, and what rested on the one before gone.

Until then both are as they were: a mistake or a stop while features are computed costs nothing.
"""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fer_ray.contracts import SCHEMA_VERSION
from fer_ray.data import store
from fer_ray.data.tables import read_table
from fer_ray.deep.bottleneck import Bottleneck
from fer_ray.deep.heads import HEADS_FOLDER
from fer_ray.deep.tables import BOTTLENECK, record_file
from fer_ray.deep.weights import Origin
from fer_ray.features.table import UNION, base_of
from fer_ray.learn.choice import SEARCH
from fer_ray.learn.trials import PREDICTIONS, RECIPE, TRIALS

FILE_BYTES = 268_435_456  # of a finished file's features
# What an experiment leaves: NAME and one of these, in any of these folders.
FOLDERS = (PREDICTIONS, HEADS_FOLDER, SEARCH, TRIALS)
LOGS = ".tensorboard"
ENDINGS = (".parquet", ".json", ".keras", ".history.parquet", ".search.json", LOGS)


def finish(
    out: Path, wanted: Bottleneck, staged: store.StagedRows, run: dict[str, Any]
) -> dict[str, Any]:
    """Join the blocks into the table and write its record, which says that it is whole.

    Args:
        out: Run folder.
        wanted: What was computed.
        staged: All of its blocks.
        run: What the record tells of the job.

    Returns:
        The record.
    """
    folder, name = out / BOTTLENECK, wanted.table_name
    folder.mkdir(exist_ok=True)
    bytes_per_row = 4 * wanted.spec.numbers(wanted.maps)
    rows = min(store.ROWS_PER_FILE, max(1, FILE_BYTES // bytes_per_row))
    made = folder / f".{name}.made"
    staged.assemble(made, wanted.schema, rows)
    before = store.read_json(record_file(out, name))
    if before is not None and before["key"] != wanted.key:
        _forget_experiments(out, wanted)
    store.remove(record_file(out, name))
    store.replace_folder(made, folder / name)
    record = {**_told(wanted), **run}
    store.write_json(record, record_file(out, name))
    staged.remove()
    return record


def _told(wanted: Bottleneck) -> dict[str, Any]:
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
    for file in sorted((out / TRIALS).glob("*.parquet")):
        if _rests_on(file, wanted):
            for folder in FOLDERS:
                for ending in ENDINGS:
                    store.remove(out / folder / f"{file.stem}{ending}")
    for logs in (out / HEADS_FOLDER).glob(f"*{LOGS}"):  # of searches that did not end
        name = logs.name.removesuffix(LOGS)
        named = wanted.name in re.split(r"[-+=,.]", name)
        if named and not (out / TRIALS / f"{name}.parquet").exists():
            store.remove(logs)


def _rests_on(trials: Path, wanted: Bottleneck) -> bool:
    """Whether an experiment was trained on the table: of draws, heads that take some."""
    column = read_table(trials, columns=["feature_set"])["feature_set"]
    metadata = pq.read_schema(trials).metadata or {}
    recipe = json.loads(metadata.get(RECIPE.encode(), b"{}"))
    taken = recipe.get("search", {}).get("feature_sets") or column.unique().to_pylist()
    if wanted.name not in {base_of(part) for one in taken for part in one.split(UNION)}:
        return False
    head = recipe.get("head") or recipe.get("head_search") or {}
    return not wanted.draws or bool(head.get("draws"))
