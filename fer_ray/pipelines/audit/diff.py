"""Comparison of two runs, image by image."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.storage.delta_store import Store
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import read_batches, read_schema, require_plain, table_files
from fer_ray.storage.paths import to_path
from fer_ray.storage.run_folder import RunFolder

EXAMPLES = 5
IMAGES = ("path", "sha256", "recipe", "status", "subject", "emotion")
RESULTS = ("sha256", "recipe", "face_index", "landmarks_xy", "predicted")
FEATURES = "features_"  # prefix of the columns of feature sets
_STORE_AT_SWEEP = re.compile(r"(.+)@(\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{6})")

_TABLES = """
CREATE TABLE {0}_images (path VARCHAR, sha256 VARCHAR, recipe VARCHAR, status VARCHAR,
    subject VARCHAR, emotion VARCHAR);
CREATE TABLE {0}_results (sha256 VARCHAR, recipe VARCHAR, face_index SMALLINT,
    landmarks_xy FLOAT[], predicted VARCHAR, features UBIGINT);
CREATE VIEW {0} AS SELECT i.*, r.* EXCLUDE (sha256, recipe) FROM {0}_images i LEFT JOIN (
    SELECT sha256, recipe, count(landmarks_xy) AS faces,
        list(landmarks_xy ORDER BY face_index) FILTER (landmarks_xy IS NOT NULL) AS landmarks,
        list(predicted ORDER BY face_index) FILTER (predicted IS NOT NULL) AS predicted,
        list(features ORDER BY face_index) AS features
    FROM (SELECT DISTINCT ON (sha256, recipe, face_index) * FROM {0}_results) GROUP BY ALL
) r ON r.sha256 = i.sha256 AND r.recipe = i.recipe;
"""

# Kinds of differences, as conditions on the join of both runs by path.
_BOTH = "a.path = b.path AND a.sha256 = b.sha256 AND"
KINDS = {
    "only_in_a": "b.path IS NULL",
    "only_in_b": "a.path IS NULL",
    "content": "a.sha256 IS DISTINCT FROM b.sha256 AND a.path = b.path",
    "status": "a.status <> b.status",
    "labels": "a.path = b.path AND (a.subject, a.emotion) IS DISTINCT FROM (b.subject, b.emotion)",
    "faces": f"{_BOTH} a.faces IS DISTINCT FROM b.faces",
    "predicted": "a.path = b.path AND a.predicted IS DISTINCT FROM b.predicted",
    "landmarks": f"{_BOTH} a.landmarks IS DISTINCT FROM b.landmarks",
    "features": f"{_BOTH} a.features IS DISTINCT FROM b.features",
}

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class RunTables:
    """The tables of one run.

    Attributes:
        images: Reads the given columns of `images` that exist.
        results: Reads the given columns of `results` that exist.
        feature_columns: Names of the columns of feature sets in `results`.
    """

    images: Callable[[list[str]], Batches]
    results: Callable[[list[str]], Batches]
    feature_columns: frozenset[str]


def compare_runs(run_a: str, run_b: str) -> dict[str, Any]:
    """Compare two runs by the paths of their images.

    Args:
        run_a: A run folder, a store, or `STORE@SWEEP`: the store's state after that sweep.
        run_b: The run to compare it with, specified in the same way.

    Returns:
        `images` in each run, `differing` images by kind of difference with count and examples, the
        changes of `statuses`, and `landmarks_px`: the difference of landmarks in crop pixels, over
        images with the same content.

    Raises:
        UserError: One of the two is not a run.
    """
    runs = {"a": _open_run(run_a), "b": _open_run(run_b)}
    shared = sorted(runs["a"].feature_columns & runs["b"].feature_columns)
    with duckdb.connect() as db:
        for side, run in runs.items():
            _load_run(db, side, run, shared)
        return {"runs": [run_a, run_b], "feature_sets": shared, **_find_differences(db)}


def _load_run(
    db: duckdb.DuckDBPyConnection, side: str, run: RunTables, feature_columns: list[str]
) -> None:
    db.execute(_TABLES.format(side))
    for batch in run.images(list(IMAGES)):
        _insert(db, f"{side}_images", batch, {name: name for name in IMAGES})
    columns = {name: name for name in RESULTS}
    if feature_columns:
        values = ", ".join(f'"{name}"::FLOAT[]' for name in feature_columns)
        columns["features"] = f"hash({values})"
    for batch in run.results([*RESULTS, *feature_columns]):
        _insert(db, f"{side}_results", batch, columns)


def _insert(
    db: duckdb.DuckDBPyConnection, table: str, batch: pa.RecordBatch, columns: dict[str, str]
) -> None:
    """Insert a batch; columns that it does not have stay null.

    Args:
        db: The database.
        table: Name of the table to insert into.
        batch: The rows.
        columns: Columns of the table, and the expression of each over columns of the batch.
    """
    present = {name: expression for name, expression in columns.items()
               if name in batch.schema.names or name != expression}  # fmt: skip
    db.register("incoming", pa.table(batch))
    db.execute(f"INSERT INTO {table} ({', '.join(present)}) "
               f"SELECT {', '.join(present.values())} FROM incoming")  # fmt: skip
    db.unregister("incoming")


def _open_run(run: str) -> RunTables:
    if (frames := _frames_of(run)) is not None:
        read = partial(_read_frames, frames)
        return RunTables(read, read, _feature_columns(frames.names))
    match = _STORE_AT_SWEEP.fullmatch(run)
    uri, sweep = match.groups() if match else (run, None)
    store = Store(uri)
    versions = _table_versions(store, sweep) if sweep else {}
    images, results = (store.snapshot(name, versions.get(name)) for name in ("images", "results"))
    if images.table is None:
        raise UserError(
            f"{run} is not a run. Pass a run folder, a store, or STORE@SWEEP, where SWEEP is the "
            "name of a sweep as shown on its page (20260131T235959.123Z-0a1b2c)."
        )
    names = results.table.schema().to_arrow().names if results.table is not None else []
    return RunTables(images.batches, results.batches, _feature_columns(names))


def _feature_columns(names: list[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith(FEATURES))


def _table_versions(store: Store, sweep: str) -> dict[str, int]:
    """The versions of the tables that a sweep published."""
    tables = {
        manifest["sweep"]: manifest["tables"]
        for manifest in store.archive.manifests()
        if manifest["finished"]
    }
    if sweep not in tables:
        raise UserError(
            f"{store.uri} has no finished sweep {sweep}. Finished sweeps: {', '.join(tables)}."
        )
    return {name: table["version"] for name, table in tables[sweep].items() if "version" in table}


@dataclass(frozen=True)
class Frames:
    """The frames of a run folder.

    Attributes:
        files: Its Parquet files.
        names: Its columns.
        recipe: Fingerprint of the settings.
    """

    files: list[Path]
    names: list[str]
    recipe: str


def _frames_of(run: str) -> Frames | None:
    """The frames of a run folder; None for anything else, such as a store."""
    try:
        folder = RunFolder(to_path(run))
    except UserError:  # a URI with options, which only stores accept
        return None
    files = table_files(folder.frames)
    if not files and not folder.frames.is_dir():
        return None
    record = read_json(folder.extract_record)
    if not files or record is None or "fingerprint" not in record:
        raise UserError(
            f"{run} has no finished frames. Run `fer-ray extract --data TREE --out {run}` first."
        )
    schema = read_schema(files[0])
    require_plain(schema, str(folder.frames))
    return Frames(files, schema.names, str(record["fingerprint"]))


def _read_frames(frames: Frames, columns: list[str]) -> Batches:
    present = [name for name in columns if name in frames.names]
    for batch in (batch for file in frames.files for batch in read_batches(file, present)):
        size = batch.num_rows
        batch = batch.append_column("recipe", pa.array([frames.recipe] * size, pa.string()))
        if "face_index" in columns:
            batch = batch.append_column("face_index", pa.array([0] * size, pa.int16()))
        yield batch


def _find_differences(db: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    joined = "FROM a FULL JOIN b ON a.path = b.path"
    counts = db.sql(f"SELECT count(a.path), count(b.path), count(*) FILTER (a.path = b.path), "
                    f"count(*) FILTER (a.recipe <> b.recipe) {joined}").fetchall()[0]  # fmt: skip
    differing = {}
    for kind, condition in KINDS.items():
        path = "coalesce(a.path, b.path)"
        query = f"SELECT count(*), min({path}, {EXAMPLES}) {joined} WHERE {condition}"
        [(count, examples)] = db.sql(query).fetchall()
        if count:
            differing[kind] = {"images": count, "examples": examples}
    largest, mean = db.sql(
        "SELECT max(gap), avg(gap) FROM (SELECT list_max(list_transform(list_zip(a.landmarks[1], "
        f"b.landmarks[1]), lambda pair: abs(pair[1] - pair[2]))) AS gap {joined} "
        "WHERE a.sha256 = b.sha256 AND a.landmarks[1] IS NOT NULL AND b.landmarks[1] IS NOT NULL)"
    ).fetchall()[0]
    statuses = db.sql(
        f"SELECT a.status, b.status, count(*) {joined} WHERE a.status <> b.status "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return {
        "images": list(counts[:2]),
        "in_both": counts[2],
        "other_recipe": counts[3],
        "differing": differing,
        "statuses": [dict(zip(("a", "b", "images"), row, strict=True)) for row in statuses],
        "landmarks_px": {"largest": largest, "mean_of_largest": mean},
    }
