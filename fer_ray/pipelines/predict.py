"""Prediction as a job: a bundle's answers on images, resumed and recorded as an extraction is."""

import logging
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from fer_ray.errors import MismatchError, UserError
from fer_ray.evaluation.answers import evaluate
from fer_ray.execution.progress import Progress
from fer_ray.execution.session import ensure_ray, require_shared
from fer_ray.faces.crops import cascade_file
from fer_ray.models.bundles.backbone_features import Asked, require_weights
from fer_ray.models.bundles.predictor import Answering, Predictor
from fer_ray.pipelines.extract import Advance, differences, record_of, run_blocks
from fer_ray.pipelines.extract import Plan as ExtractPlan
from fer_ray.schemas import answers_schema
from fer_ray.settings.base import fingerprint
from fer_ray.settings.extraction import Layout, Selection, extract_fingerprint
from fer_ray.settings.root import Execution
from fer_ray.sources.digest import file_stats, table_digest
from fer_ray.sources.listing import refuse_among_images
from fer_ray.sources.several import list_images
from fer_ray.storage.files import read_json, remove, write_json
from fer_ray.storage.parquet import read_table, rows_in
from fer_ray.storage.run_folder import PredictionFolder, RunFolder
from fer_ray.storage.staging import StagedRows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a prediction has to do.

    Attributes:
        extraction: Of the images, by the bundle's recipe; its fingerprint is the bundle's too.
        predictor: The bundle's model.
        weights: Files of weights by backbone.
    """

    extraction: ExtractPlan
    predictor: Predictor
    weights: Asked = ()


def plan(
    bundle: Path,
    images: list[Path],
    out: Path,
    layout: Layout = "auto",
    landmark_model: Path | None = None,
    weights: Asked = (),
    fresh: bool = False,
) -> Plan:
    """Look at the bundle, the images, and what `out` already holds.

    Raises:
        UserError: The bundle cannot be used, or images or a model are missing.
        MismatchError: `out` holds predictions on other images or by another bundle, and `fresh` is
            not set.
    """
    predictor = Predictor(bundle)
    settings = predictor.settings(landmark_model)
    require_weights(predictor.bundle, weights)
    cascade_file(settings.crop.cascades[0])
    if RunFolder(out).extract_record.exists():
        raise UserError(f"{out} is the run folder of an extraction. Give another --out.")
    started = time.monotonic()
    settings = settings.model_copy(update={"selection": Selection(layout=layout, frames="all")})
    listing = list_images(images, settings.selection)
    refuse_among_images(out, listing.root, listing.summary["layout"])
    stats = file_stats(listing.root, listing.table["path"].to_pylist())
    model = predictor.bundle.manifest.recipe.landmark_model_sha256
    extraction = ExtractPlan(
        listing,
        settings,
        fingerprint({"rows": extract_fingerprint(settings, model), "bundle": predictor.sha256}),
        table_digest(listing.table, stats),
        _finished(out),
        time.monotonic() - started,
    )
    return Plan(_checked(extraction, predictor, out, fresh), predictor, weights)


def _finished(out: Path) -> dict[str, Any] | None:
    folder = PredictionFolder(out)
    return read_json(folder.record) if folder.predictions.is_dir() else None


def _checked(made: ExtractPlan, predictor: Predictor, out: Path, fresh: bool) -> ExtractPlan:
    """The plan, finished only if what is there is of the very same."""
    if made.finished is None or fresh:
        return replace(made, finished=None)
    changed = differences(made, made.finished)
    before = made.finished.get("bundle", {}).get("sha256")
    if changed and before != predictor.sha256:
        changed = ["the model was another bundle"]
    if changed:
        raise MismatchError(
            f"{out} holds other predictions: {'; '.join(changed)}.\n"
            "Give another --out to keep them, or --fresh to replace them."
        )
    whole = rows_in(PredictionFolder(out).predictions) == made.finished["data"]["selected"]
    return made if whole else replace(made, finished=None)


def predict(plan: Plan, out: Path, execution: Execution, advance: Advance) -> dict[str, Any]:
    """Predict what is left to do, and write `predictions` and its record.

    Args:
        plan: From `plan`; one that is finished is returned as it is.
        out: Folder of the results, held by the caller (`holding.run_folder`).
        execution: Workers and block size.
        advance: Told the number of images each time that more are done.

    Returns:
        The record, as `predict.json` holds it; with `already_finished`, true, where nothing was
        left to do.
    """
    extraction, predictor = plan.extraction, plan.predictor
    if extraction.finished is not None:
        return {**extraction.finished, "already_finished": True}
    written = PredictionFolder(out)
    for path in (written.record, written.report, written.sheet):
        remove(path)
    key = f"{extraction.fingerprint[:16]}-{extraction.source_digest[:16]}"
    staged = StagedRows(PredictionFolder(out.resolve()).predictions_partial / key)
    schema = answers_schema(predictor.labels)
    started = time.monotonic()
    ensure_ray(execution)
    folder = predictor.bundle.folder.resolve()
    require_shared(out, folder)
    root = extraction.listing.root.resolve()
    answer = Answering(folder, predictor.sha256, root, plan.weights)
    done = run_blocks(extraction, staged, execution, advance, answer=answer, kept=schema)
    seconds = time.monotonic() - started
    staged.assemble(written.predictions, schema)
    record = _record(plan, written.predictions, seconds, done)
    write_json(record, written.record)
    staged.remove()
    logger.info("predicted %d images in %.1f s", done, seconds)
    return record


def _record(plan: Plan, rows: Path, seconds: float, done: int) -> dict[str, Any]:
    counted = read_table(rows, columns=["predicted"])["predicted"].value_counts().to_pylist()
    predicted = Counter({one["values"]: one["counts"] for one in counted})
    bundle = plan.predictor.bundle
    return {
        **record_of(plan.extraction, rows, seconds, done),
        "bundle": {
            "sha256": bundle.sha256,
            "labels": list(bundle.manifest.labels),
            "model": bundle.manifest.model.model_dump(mode="json"),
            "evidence": bundle.manifest.evidence.model_dump(mode="json"),
            "trained_images": bundle.manifest.training.images,
            "how": bundle.manifest.training.how,
        },
        "predicted": {name: predicted[name] for name in plan.predictor.labels},
        "evaluation": _evaluation(plan, rows),
    }


def _evaluation(plan: Plan, rows: Path) -> dict[str, Any] | None:
    manifest = plan.predictor.bundle.manifest
    model = manifest.model
    experiment = (manifest.evidence.experiment, model.classifier, model.feature_set)
    probabilities = [f"p_{name}" for name in manifest.labels]
    columns = ["image_id", "subject", "emotion", "sha256", "predicted", *probabilities]
    table = read_table(rows, columns=columns, filters=pc.field("emotion").is_valid())
    return evaluate(table.to_pandas(), manifest.labels, plan.predictor.trained_on, experiment)


def run_predict(
    bundle: Path,
    images: list[Path],
    out: Path,
    execution: Execution,
    progress: Progress,
    layout: Layout = "auto",
    landmark_model: Path | None = None,
    weights: Asked = (),
    fresh: bool = False,
    sheet: bool = False,
    show_faces: bool = False,
) -> dict[str, Any]:
    """Predict images with a bundle into `out`; the record, also of predictions finished before.

    Where images are labelled, a report about the answers is written beside them.
    """
    planned = plan(bundle, images, out, layout, landmark_model, weights, fresh)
    with progress("predict", "images", planned.extraction.listing.table.num_rows) as advance:
        record = predict(planned, out, execution, advance)
    from fer_ray.report.figures.sheet import write_sheet
    from fer_ray.report.prediction_page import write_page

    write_page(out, record, planned.predictor.trained_on, show_faces)
    if sheet:
        write_sheet(
            read_table(PredictionFolder(out).predictions),
            planned.extraction.listing.root,
            PredictionFolder(out).sheet,
        )
    return record
