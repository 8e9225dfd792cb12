"""Verification of a store: recompute a sample of its images and compare the rows bit for bit."""

import hashlib
import pickle
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import UserError
from fer_ray.execution.guard import Fault, Guard
from fer_ray.models.bundles.backbone_features import WeightOverrides
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.pipelines.sweeps.planning.prepare import Processor, build_processor
from fer_ray.pipelines.sweeps.publishing.fuse import FAULTS
from fer_ray.pipelines.sweeps.sweep_steps import complete_rows
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.prediction import PredictionSettings
from fer_ray.settings.root import Settings
from fer_ray.sources.streams.image_source import Source, open_source
from fer_ray.storage.delta_store import Store

Row = dict[str, Any]
Image = tuple[str, str]  # path, SHA-256 of the content


def verify_store(
    store: str,
    sample: int,
    seed: int,
    source: str | None = None,
    landmark_file: str | None = None,
    model: Path | None = None,
    weights: WeightOverrides = (),
) -> dict[str, Any]:
    """Recompute a random sample of a store's images and compare the rows bit for bit.

    Args:
        store: Path or URI of the store.
        sample: Number of images, among those that could be read.
        seed: Seed of the sample.
        source: Path or URI of the images. None: the source of the last sweep.
        landmark_file: The landmark model's file, if it is not the default one.
        model: The model bundle, if the store contains predictions.
        weights: Weight files by backbone of the bundle; a backbone without one uses the default.

    Returns:
        The numbers `sampled`, `same` and `changed_since`; `differing` images with the columns that
        differ; and `recipe_here`: whether settings, models and versions of this machine are those
        of the store. If not, rows may legitimately differ.

    Raises:
        UserError: The store has no finished sweep, or its source or a model is missing.
    """
    opened = Store(store)
    manifest = next((item for item in opened.archive.manifests() if item["finished"]), None)
    if manifest is None:
        raise UserError(f"{store} has no finished sweep: run `fer-ray sweep` first.")
    if manifest["recipe_content"]["bundle"] and model is None:
        raise UserError("The store contains predictions of a model. Pass its bundle with --model.")
    processor = _processor_of(manifest, landmark_file, model, weights)
    images = _sample_images(opened, sample, seed, manifest["recipe"])
    comparison = _compare_images(
        opened, open_source(source or manifest["source"]), images, manifest, processor
    )
    return {"store": opened.uri, "sampled": len(images), **comparison,
            "recipe_here": processor.recipe.fingerprint == manifest["recipe"]}  # fmt: skip


def _compare_images(
    store: Store, source: Source, images: list[Image], manifest: Row, processor: Processor
) -> dict[str, Any]:
    max_bytes = manifest["recipe_content"]["extract"]["decode"]["max_bytes"]
    rows = _stored_rows(store, images, processor.schema, manifest["recipe"])
    same, changed, differing = 0, 0, []
    guard = Guard(pickle.dumps(processor.steps), manifest["settings"]["execution"]["image_seconds"])
    try:
        for path, sha256 in images:
            content = _read(source, path, max_bytes)
            if content is None or hashlib.sha256(content).hexdigest() != sha256:
                changed += 1
                continue
            columns = _differing_columns(guard([content]), rows.get(sha256, []), processor.schema)
            if columns:
                differing.append({"path": path, "columns": columns})
            else:
                same += 1
    finally:
        guard.close()
    return {"same": same, "changed_since": changed, "differing": differing}


def _processor_of(
    manifest: Row, landmark_file: str | None, model: Path | None, weights: WeightOverrides
) -> Processor:
    """The processor with a sweep's settings, and the models and libraries of this machine."""
    content = manifest["recipe_content"]
    extract = ExtractSettings.model_validate(content["extract"])
    landmarks = extract.landmarks.model_copy(update={"file": landmark_file})
    extract = extract.model_copy(update={"landmarks": landmarks})
    predict = PredictionSettings.model_validate(content.get("predict", {}))
    settings = Settings().model_copy(update={"extract": extract, "predict": predict})
    predictor = Predictor(model) if model else None
    if predictor and predictor.sha256 != content["bundle"]:
        raise UserError(
            f"The store's predictions come from the bundle {str(content['bundle'])[:16]}…, but "
            f"{model} is {predictor.sha256[:16]}…. Pass the store's bundle with --model."
        )
    return build_processor(settings, predictor, weights)


def _sample_images(store: Store, size: int, seed: int, recipe: str) -> list[Image]:
    """A uniform random sample of readable images, by reservoir sampling in one pass."""
    generator, n_seen = random.Random(seed), 0
    images: list[Image] = []
    for batch in store.snapshot("images").batches(["path", "sha256", "recipe", "status"]):
        readable = pc.and_(pc.is_valid(batch["sha256"]), pc.equal(batch["recipe"], recipe))
        for row in batch.filter(readable).to_pylist():
            n_seen += 1
            if len(images) < size:
                images.append((row["path"], row["sha256"]))
            elif (place := generator.randrange(n_seen)) < size:
                images[place] = (row["path"], row["sha256"])
    return images


def _stored_rows(
    store: Store, images: list[Image], schema: pa.Schema, recipe: str
) -> dict[str, list[Row]]:
    """The rows of `results` of each image, by SHA-256 and in the order of its faces."""
    contents = pa.array(sorted({sha256 for _, sha256 in images}), pa.string())
    rows: dict[str, list[Row]] = {}
    for batch in store.snapshot("results").batches(schema.names):
        matches = pc.and_(pc.is_in(batch["sha256"], contents), pc.equal(batch["recipe"], recipe))
        for row in batch.filter(matches).to_pylist():
            rows.setdefault(row["sha256"], []).append(row)
    return {key: sorted(faces, key=lambda row: row["face_index"]) for key, faces in rows.items()}


def _read(source: Source, path: str, max_bytes: int) -> bytes | None:
    try:
        return source.read(path, max_bytes)
    except OSError:
        return None


def _differing_columns(result: pa.Table | Fault, stored: list[Row], schema: pa.Schema) -> list[str]:
    """The columns in which the recomputed rows differ from the stored ones."""
    if isinstance(result, Fault):
        same = len(stored) == 1 and stored[0]["status"] == result.status
        return [] if same else ["status"]
    if any(row["status"] in FAULTS for row in stored):
        return ["status"]
    computed = complete_rows(result, schema, "", "").to_pylist()
    if len(computed) != len(stored):
        return ["face_index"]
    names = [name for name in schema.names if name not in ("recipe", "sweep")]
    pairs = list(zip(computed, stored, strict=True))
    return [name for name in names if any(new[name] != old.get(name) for new, old in pairs)]
