"""A sample of a store computed anew: do its rows still come out as they are kept?"""

import hashlib
import pickle
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import UserError
from fer_ray.execution.guard import Fault, Guard
from fer_ray.models.bundles.backbone_features import Asked
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.pipelines.sweeps.describe import completed
from fer_ray.pipelines.sweeps.fuse import FAULTS
from fer_ray.pipelines.sweeps.prepare import Way, way_of
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.root import Settings
from fer_ray.settings.sweeping import SweepSettings
from fer_ray.sources.locations import Source, open_source
from fer_ray.storage.delta_store import Store

Row = dict[str, Any]


def verify_store(
    store: str,
    sample: int,
    seed: int,
    source: str | None = None,
    landmark_model: Path | None = None,
    model: Path | None = None,
    weights: Asked = (),
) -> dict[str, Any]:
    """Compute a random sample of a store's images anew, bit for bit.

    Args:
        store: Path or URI.
        sample: Images, of those that could be read.
        seed: Of the choice.
        source: Where the images lie now; None: where the last sweep found them.
        landmark_model: The landmark model's file, if it is not the usual one.
        model: The bundle, if the store has a model's answers.
        weights: Files of weights by backbone of the bundle; others are the backbone's own.

    Returns:
        Counts, `differing` with the columns of each, and `recipe_here`: whether settings, models
        and versions of this machine are those of the store; where not, rows may well differ.

    Raises:
        UserError: There is no finished sweep, or its source or a model is missing.
    """
    kept = Store(store)
    told = next((one for one in kept.archive.manifests() if one["finished"]), None)
    if told is None:
        raise UserError(f"{store} holds no finished sweep.")
    if told["recipe_content"]["bundle"] and model is None:
        raise UserError("The store has a model's answers: name its bundle with --model.")
    way = _way(told, landmark_model, model, weights)
    opened = open_source(source or told["source"])
    most = told["recipe_content"]["extract"]["decode"]["max_bytes"]
    chosen = _sample(kept, sample, seed, told["recipe"])
    rows = _rows(kept, chosen, way.schema, told["recipe"])
    found: dict[str, Any] = {"same": 0, "changed_since": 0, "differing": []}
    guard = Guard(pickle.dumps(way.describe), told["settings"]["sweep"]["image_seconds"])
    try:
        for path, sha256 in chosen:
            content = _read(opened, path, most)
            if content is None or hashlib.sha256(content).hexdigest() != sha256:
                found["changed_since"] += 1
                continue
            columns = _differing(guard(content), rows.get(sha256, []), way.schema)
            if columns:
                found["differing"].append({"path": path, "columns": columns})
            else:
                found["same"] += 1
    finally:
        guard.close()
    return {"store": kept.uri, "sampled": len(chosen), **found,
            "recipe_here": way.recipe.fingerprint == told["recipe"]}  # fmt: skip


def _way(told: Row, landmark_model: Path | None, model: Path | None, weights: Asked) -> Way:
    """What makes rows as that sweep did, with the recipe that they would have here."""
    content = told["recipe_content"]
    extract = ExtractSettings.model_validate(content["extract"])
    landmarks = extract.landmarks.model_copy(update={"model": landmark_model})
    extract = extract.model_copy(update={"landmarks": landmarks})
    swept = SweepSettings(faces=content["faces"])
    settings = Settings().model_copy(update={"extract": extract, "sweep": swept})
    predictor = Predictor(model) if model else None
    if predictor and predictor.sha256 != content["bundle"]:
        raise UserError(
            f"The store's answers are of the bundle {str(content['bundle'])[:16]}…; {model} is "
            f"{predictor.sha256[:16]}…. Name the bundle that made them with --model."
        )
    return way_of(settings, predictor, weights)


def _sample(store: Store, size: int, seed: int, recipe: str) -> list[tuple[str, str]]:
    """Path and content of images, each as likely as any other, in one pass."""
    draw, seen = random.Random(seed), 0
    chosen: list[tuple[str, str]] = []
    for batch in store.snapshot("images").batches(["path", "sha256", "recipe", "status"]):
        usable = pc.and_(pc.is_valid(batch["sha256"]), pc.equal(batch["recipe"], recipe))
        for row in batch.filter(usable).to_pylist():
            seen += 1
            if len(chosen) < size:
                chosen.append((row["path"], row["sha256"]))
            elif (place := draw.randrange(seen)) < size:
                chosen[place] = (row["path"], row["sha256"])
    return chosen


def _rows(
    store: Store, chosen: list[tuple[str, str]], schema: pa.Schema, recipe: str
) -> dict[str, list[Row]]:
    wanted = pa.array(sorted({sha256 for _, sha256 in chosen}), pa.string())
    rows: dict[str, list[Row]] = {}
    for batch in store.snapshot("results").batches(schema.names):
        mine = pc.and_(pc.is_in(batch["sha256"], wanted), pc.equal(batch["recipe"], recipe))
        for row in batch.filter(mine).to_pylist():
            rows.setdefault(row["sha256"], []).append(row)
    return {key: sorted(found, key=lambda row: row["face_index"]) for key, found in rows.items()}


def _read(source: Source, path: str, most: int) -> bytes | None:
    try:
        return source.read(path, most)
    except OSError:
        return None


def _differing(answer: pa.Table | Fault, kept: list[Row], schema: pa.Schema) -> list[str]:
    """Columns in which what comes out now is not what is kept."""
    if isinstance(answer, Fault):
        same = len(kept) == 1 and kept[0]["status"] == answer.status
        return [] if same else ["status"]
    if any(row["status"] in FAULTS for row in kept):
        return ["status"]
    made = completed(answer, schema, "", "").to_pylist()
    if len(made) != len(kept):
        return ["face_index"]
    names = [name for name in schema.names if name not in ("recipe", "sweep")]
    pairs = list(zip(made, kept, strict=True))
    return [name for name in names if any(new[name] != old.get(name) for new, old in pairs)]
