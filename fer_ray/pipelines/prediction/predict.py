"""`fer-ray predict`: predictions of a bundle, which are resumed and recorded like an extraction."""

import logging
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.evaluation.answers import count_answers
from fer_ray.execution.extract_block import ExtractBlock
from fer_ray.execution.progress import Progress
from fer_ray.execution.tasks.merging import merge_on_ray
from fer_ray.features.face_rows import one_row_per_image
from fer_ray.features.image_steps import ImageSteps
from fer_ray.models.bundles.backbone_features import WeightOverrides
from fer_ray.models.bundles.prediction_step import BundleBackbones, BundleModel
from fer_ray.pipelines.extraction.extract import (
    RECORD_COLUMNS,
    Advance,
    build_record,
    extract_missing,
    step_settings,
)
from fer_ray.pipelines.prediction.prediction_plan import PredictionPlan, plan_prediction
from fer_ray.schemas import predicted_images_schema
from fer_ray.settings.extraction import ALL_IMAGES, Faces, Selection
from fer_ray.settings.root import Execution
from fer_ray.storage.files import remove, write_json
from fer_ray.storage.parquet import count_values, read_table
from fer_ray.storage.run_folder import PredictionFolder
from fer_ray.storage.staging import StagedRows, remove_superseded

# What `predict.json` counts.
ANSWER_COLUMNS = ("predicted", "answer", "prediction_set", "ood_p_value")

logger = logging.getLogger(__name__)


def predict(
    plan: PredictionPlan, out: Path, execution: Execution, advance: Advance
) -> dict[str, Any]:
    """Predict the images that are left, and write `predictions` and its record.

    Args:
        plan: From `plan_prediction`. The record of a finished one is returned.
        out: Folder of the results, locked by the caller.
        execution: Workers and block size.
        advance: Called with the number of images just finished.

    Returns:
        The record, as in `predict.json`, with `already_finished` set to True if all images were
        already done.
    """
    extraction, bundle = plan.extraction, plan.bundle
    if extraction.finished is not None:
        return {**extraction.finished, "already_finished": True}
    folder = PredictionFolder(out)
    for path in (folder.record, folder.report, folder.sheet):
        remove(path)
    staged = StagedRows(folder.predictions_partial / extraction.staging_key)
    schema = predicted_images_schema(bundle.labels)
    started = time.monotonic()
    task = _prediction_task(plan, staged, schema)
    count = extract_missing(extraction, task, execution, advance, (bundle.folder,))
    seconds = time.monotonic() - started
    files = staged.assemble(folder.predictions, schema, run=merge_on_ray)
    remove_superseded(folder.predictions, files)
    record = {**_build_record(plan, folder.predictions, seconds, count), "files": files}
    write_json(record, folder.record)
    staged.remove()
    logger.info("predicted %d images in %.1f s", count, seconds)
    return record


def _prediction_task(plan: PredictionPlan, staged: StagedRows, schema: pa.Schema) -> ExtractBlock:
    """The task of a block: a head predicts in the child process, which has TensorFlow anyway."""
    extraction, bundle = plan.extraction, plan.bundle
    folder, manifest = bundle.folder.absolute(), bundle.manifest
    backbones = None
    if manifest.recipe.backbones:
        backbones = BundleBackbones(folder, bundle.sha256, plan.weights)
    model = BundleModel(folder, bundle.sha256, plan.abstain_below)
    is_head = manifest.kind == "head"
    settings = step_settings(extraction)
    return ExtractBlock(
        ImageSteps(settings, backbones, model if is_head else None),
        extraction.listing.root.absolute(),
        staged,
        schema,
        predict=None if is_head else model,
        constants=(("bundle_sha256", bundle.sha256),),
    )


def _build_record(plan: PredictionPlan, rows: Path, seconds: float, count: int) -> dict[str, Any]:
    columns = ["face_index", "other_faces", *ANSWER_COLUMNS, *RECORD_COLUMNS]
    table = read_table(rows, columns=columns)
    images = one_row_per_image(table)
    crowded = pc.and_(pc.is_valid(images["predicted"]), pc.greater(images["other_faces"], 0))
    predicted = count_values(table["predicted"])
    bundle = plan.bundle
    return {
        **build_record(plan.extraction, images, seconds, count, True),
        "faces": plan.faces,
        "images_with_other_faces": pc.sum(crowded).as_py() or 0,
        "abstain_below": plan.abstain_below,
        "rows": table.num_rows,
        "bundle": {
            "sha256": bundle.sha256,
            "labels": list(bundle.manifest.labels),
            "model": bundle.manifest.model.model_dump(mode="json"),
            "confidence": bundle.manifest.confidence.model_dump(mode="json"),
            "evidence": bundle.manifest.evidence.model_dump(mode="json"),
            "trained_images": bundle.manifest.training.images,
            "how": bundle.manifest.training.how,
        },
        "predicted": {name: predicted[name] for name in bundle.labels},
        "answers": count_answers(table),
        "evaluation": _evaluation(plan, rows),
    }


def _evaluation(plan: PredictionPlan, rows: Path) -> dict[str, Any] | None:
    manifest = plan.bundle.manifest
    model = manifest.model
    experiment = (manifest.evidence.experiment, model.classifier, model.feature_set)
    columns = ["image_id", "subject", "emotion", "face_index", "status", "sha256"]
    columns += [*ANSWER_COLUMNS, *(f"p_{name}" for name in manifest.labels)]
    table = read_table(rows, columns=columns, filters=pc.field("emotion").is_valid())
    if not table.num_rows:
        return None
    from fer_ray.evaluation.labelled_predictions import evaluate_predictions

    images = one_row_per_image(table).to_pandas()
    return evaluate_predictions(images, manifest.labels, plan.bundle.trained_on, experiment)


def run_predict(
    bundle: Path,
    images: list[Path],
    out: Path,
    execution: Execution,
    progress: Progress,
    selection: Selection = ALL_IMAGES,
    landmark_file: str | None = None,
    weights: WeightOverrides = (),
    faces: Faces = "one",
    fresh: bool = False,
    sheet: bool = False,
    show_faces: bool = False,
    abstain_below: float | None = None,
) -> dict[str, Any]:
    """Predict images with a bundle, and write a report if images are labelled.

    Args:
        bundle: Folder of the bundle.
        images: Image files and folders.
        out: Folder of the results, locked by the caller.
        execution: Workers and block size.
        progress: Displays the progress.
        selection: Layout and labels of the folders; all images are selected.
        landmark_file: File of the landmark model. None: the default.
        weights: Files of weights by backbone, instead of the defaults.
        faces: Which faces of an image get rows.
        fresh: Replace predictions of other images, of other faces or by another bundle.
        sheet: Also write a contact sheet.
        show_faces: Show faces in the report.
        abstain_below: As for `Predictor`.

    Returns:
        The record, as in `predict.json`, with `already_finished` set to True if all images were
        already done.
    """
    with progress("list", "", 0):
        plan = plan_prediction(
            bundle, images, out, selection, landmark_file, weights, faces, fresh, abstain_below
        )
    with progress("predict", "images", plan.extraction.listing.table.num_rows) as advance:
        record = predict(plan, out, execution, advance)
    if record["evaluation"] is not None and record["evaluation"]["figures"] is not None:
        from fer_ray.report.prediction_page import write_prediction_report

        write_prediction_report(out, record, plan.bundle.trained_on, show_faces)
    if sheet:
        from fer_ray.report.figures.contact_sheet import write_contact_sheet

        write_contact_sheet(
            read_table(PredictionFolder(out).predictions),
            plan.extraction.listing.root,
            PredictionFolder(out).sheet,
        )
    return record
