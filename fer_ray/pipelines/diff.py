"""Two runs held against each other, image by image."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyarrow import dataset

from fer_ray.errors import UserError
from fer_ray.storage.delta_store import Store
from fer_ray.storage.parquet import require_plain

EXAMPLES = 5
IMAGES = ("path", "sha256", "recipe", "status", "subject", "emotion")
RESULTS = ("sha256", "recipe", "face_index", "landmarks_xy", "predicted")
FEATURES = "features_"  # how columns of feature sets begin
_AT_SWEEP = re.compile(r"(.+)@(\d{8}T\d{6}Z-[0-9a-f]{6})")

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

# What can differ, each counted and shown by examples.
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
class Tables:
    """What two runs are compared by.

    Attributes:
        images: Gives the named columns, where there are such.
        results: Likewise.
        sets: Columns of feature sets among the results.
    """

    images: Callable[[list[str]], Batches]
    results: Callable[[list[str]], Batches]
    sets: frozenset[str]


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
    runs = {"a": _opened(run_a), "b": _opened(run_b)}
    shared = sorted(runs["a"].sets & runs["b"].sets)
    with duckdb.connect() as db:
        for side, run in runs.items():
            db.execute(_TABLES.format(side))
            for batch in run.images(list(IMAGES)):
                _insert(db, f"{side}_images", batch, {name: name for name in IMAGES})
            for batch in run.results([*RESULTS, *shared]):
                sets = ", ".join(f'"{name}"::FLOAT[]' for name in shared)
                columns = {name: name for name in RESULTS}
                columns |= {"features": f"hash({sets})"} if shared else {}
                _insert(db, f"{side}_results", batch, columns)
        return {"runs": [run_a, run_b], "feature_sets": shared, **_differences(db)}


def _insert(
    db: duckdb.DuckDBPyConnection, table: str, batch: pa.RecordBatch, columns: dict[str, str]
) -> None:
    """Insert a batch; columns that it lacks stay null."""
    known = {name: value for name, value in columns.items()
             if name in batch.schema.names or name != value}  # fmt: skip
    db.register("incoming", pa.table(batch))
    db.execute(f"INSERT INTO {table} ({', '.join(known)}) "
               f"SELECT {', '.join(known.values())} FROM incoming")  # fmt: skip
    db.unregister("incoming")


def _opened(run: str) -> Tables:
    if Path(run, "frames").is_dir():
        recipe, frames = _frames(run)
        names = frames.schema.names
        return Tables(
            partial(_rows, frames, recipe), partial(_rows, frames, recipe), _sets_of(names)
        )
    found = _AT_SWEEP.fullmatch(run)
    uri, sweep = found.groups() if found else (run, None)
    store = Store(uri)
    versions = _versions(store, sweep) if sweep else {}
    images, results = (store.snapshot(name, versions.get(name)) for name in ("images", "results"))
    if images.table is None:
        raise UserError(
            f"{run} is neither a run folder nor a store, nor STORE@SWEEP with the name of a sweep "
            "as its page has it (20260131T235959Z-0a1b2c)."
        )
    names = results.table.schema().to_arrow().names if results.table is not None else []
    return Tables(images.batches, results.batches, _sets_of(names))


def _sets_of(names: list[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith(FEATURES))


def _versions(store: Store, sweep: str) -> dict[str, int]:
    known = {one["sweep"]: one["tables"] for one in store.archive.manifests() if one["finished"]}
    if sweep not in known:
        raise UserError(f"{store.uri} has no finished sweep {sweep}; it has: {', '.join(known)}.")
    return {name: table["version"] for name, table in known[sweep].items() if "version" in table}


def _frames(run: str) -> tuple[str, dataset.Dataset]:
    """A run folder's fingerprint and frames."""
    try:
        record = json.loads(Path(run, "extract.json").read_text(encoding="utf-8"))
        frames = dataset.dataset(f"{run}/frames", format="parquet")
        fingerprint = str(record["fingerprint"])
    except (OSError, ValueError, KeyError):
        raise UserError(
            f"{run} holds no finished frames: run `fer-ray extract --data TREE --out {run}` first."
        ) from None
    require_plain(frames.schema, f"{run}/frames")
    return fingerprint, frames


def _rows(frames: dataset.Dataset, recipe: str, columns: list[str]) -> Batches:
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
        path = "coalesce(a.path, b.path)"
        query = f"SELECT count(*), min({path}, {EXAMPLES}) {joined} WHERE {condition}"
        [(count, examples)] = db.sql(query).fetchall()
        if count:
            differing[kind] = {"images": count, "examples": examples}
    moved = db.sql(
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
        "landmarks_px": {"largest": moved[0], "mean_of_largest": moved[1]},
    }
