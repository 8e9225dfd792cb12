"""Two runs held against each other, image by image."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyarrow import dataset

from fer_ray.errors import UserError
from fer_ray.sweep.store import Store

EXAMPLES = 5
IMAGES = ("path", "sha256", "recipe", "status")
RESULTS = ("sha256", "recipe", "face_index", "landmarks_xy", "predicted")

_TABLES = """
CREATE TABLE {0}_images (path VARCHAR, sha256 VARCHAR, recipe VARCHAR, status VARCHAR);
CREATE TABLE {0}_results (sha256 VARCHAR, recipe VARCHAR, face_index SMALLINT,
    landmarks_xy FLOAT[], predicted VARCHAR);
CREATE VIEW {0} AS SELECT i.path, i.sha256, i.recipe, i.status, r.landmarks_xy, r.predicted
    FROM {0}_images i LEFT JOIN (
        SELECT DISTINCT ON (sha256, recipe) * FROM {0}_results WHERE face_index = 0
    ) r ON r.sha256 = i.sha256 AND r.recipe = i.recipe;
"""

# What can differ, each counted and shown by examples.
KINDS = {
    "only_in_a": "b.path IS NULL",
    "only_in_b": "a.path IS NULL",
    "content": "a.sha256 IS DISTINCT FROM b.sha256 AND a.path = b.path",
    "status": "a.status <> b.status",
    "predicted": "a.path = b.path AND a.predicted IS DISTINCT FROM b.predicted",
    "landmarks": "a.path = b.path AND a.sha256 = b.sha256 "
    "AND a.landmarks_xy IS DISTINCT FROM b.landmarks_xy",
}


def compare_runs(run_a: str, run_b: str) -> dict[str, Any]:
    """What differs between two runs, by path.

    Args:
        run_a: A run folder, a store, or `STORE@SWEEP`: a store as it was after that sweep.
        run_b: Likewise.

    Returns:
        Images in each, `differing`: count and examples of each kind, statuses from and to, and the
        landmarks' differences (pixels of the crop) where both have the same content.

    Raises:
        UserError: One of them is no run.
    """
    with duckdb.connect() as db:
        for side, run in (("a", run_a), ("b", run_b)):
            db.execute(_TABLES.format(side))
            _load(db, side, run)
        return {"runs": [run_a, run_b], **_differences(db)}


def _load(db: duckdb.DuckDBPyConnection, side: str, run: str) -> None:
    for table, columns, batches in _tables_of(run):
        for batch in batches:
            db.register("incoming", pa.table(batch))
            known = ", ".join(name for name in columns if name in batch.schema.names)
            db.execute(f"INSERT INTO {side}_{table} ({known}) SELECT {known} FROM incoming")
            db.unregister("incoming")


def _tables_of(run: str) -> Iterator[tuple[str, tuple[str, ...], Iterator[pa.RecordBatch]]]:
    if (Path(run) / "frames").is_dir():
        record = json.loads((Path(run) / "extract.json").read_text(encoding="utf-8"))
        yield "images", IMAGES, _frames(run, record["fingerprint"], IMAGES)
        yield "results", RESULTS, _frames(run, record["fingerprint"], RESULTS)
        return
    uri, _, sweep = run.partition("@")
    store = Store(uri)
    versions = _versions(store, sweep) if sweep else {}
    images = store.snapshot("images", versions.get("images"))
    if images.table is None:
        raise UserError(f"{uri} is neither a run folder nor a store.")
    yield "images", IMAGES, images.batches(list(IMAGES))
    yield (
        "results",
        RESULTS,
        store.snapshot("results", versions.get("results")).batches(list(RESULTS)),
    )


def _versions(store: Store, sweep: str) -> dict[str, int]:
    known = {one["sweep"]: one["tables"] for one in store.archive.manifests() if one["finished"]}
    if sweep not in known:
        raise UserError(f"{store.uri} has no finished sweep {sweep}; it has: {', '.join(known)}.")
    return {name: table["version"] for name, table in known[sweep].items()}


def _frames(run: str, recipe: str, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    frames = dataset.dataset(f"{run}/frames", format="parquet")
    known = [name for name in columns if name in frames.schema.names]
    for batch in frames.scanner(columns=known).to_batches():
        size = batch.num_rows
        batch = batch.append_column("recipe", pa.array([recipe] * size, pa.string()))
        if "face_index" in columns:
            batch = batch.append_column("face_index", pa.array([0] * size, pa.int16()))
        yield batch


def _differences(db: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    joined = "FROM a FULL JOIN b ON a.path = b.path"
    counts = db.sql(f"SELECT count(a.path), count(b.path), count(*) FILTER (a.path = b.path), "
                    f"count(*) FILTER (a.recipe <> b.recipe) {joined}").fetchall()[0]  # fmt: skip
    differing = {}
    for kind, condition in KINDS.items():
        query = (
            f"SELECT count(*), list(coalesce(a.path, b.path) ORDER BY ALL)[:{EXAMPLES}] {joined} "
            f"WHERE {condition}"
        ).replace("ORDER BY ALL", "ORDER BY coalesce(a.path, b.path)")
        [(count, examples)] = db.sql(query).fetchall()
        if count:
            differing[kind] = {"images": count, "examples": examples}
    moved = db.sql(
        "SELECT max(gap), avg(gap) FROM (SELECT list_max(list_transform(list_zip(a.landmarks_xy, "
        f"b.landmarks_xy), lambda pair: abs(pair[1] - pair[2]))) AS gap {joined} "
        "WHERE a.sha256 = b.sha256 AND a.landmarks_xy IS NOT NULL AND b.landmarks_xy IS NOT NULL)"
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
        "landmarks_px": {"largest": moved[0], "mean_of_largest": moved[1]},
    }
