"""The plan of a prediction: its bundle and images, compared with the contents of the folder."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fer_ray.errors import MismatchError, UserError
from fer_ray.faces.loaded_models import require_face_models
from fer_ray.models.bundles.backbone_features import WeightOverrides, require_weights
from fer_ray.models.bundles.bundle import Bundle, read_bundle
from fer_ray.pipelines.extraction.extraction_plan import ExtractionPlan, describe_changes
from fer_ray.settings.base import fingerprint
from fer_ray.settings.extraction import ALL_IMAGES, Faces, Selection, extract_fingerprint
from fer_ray.sources.datasets.several_sources import list_images
from fer_ray.storage.files import read_json
from fer_ray.storage.foreign_files import require_outside_results
from fer_ray.storage.parquet import rows_by_file
from fer_ray.storage.paths import require_output_outside
from fer_ray.storage.run_folder import PredictionFolder, RunFolder


@dataclass(frozen=True)
class PredictionPlan:
    """The plan of a prediction.

    Attributes:
        extraction: Extraction of the images with the settings of the bundle; its fingerprint
            includes the bundle.
        bundle: The bundle; workers load its model.
        weights: Files of weights by backbone, instead of the defaults.
        faces: Which faces of an image get rows.
        abstain_below: As for `Predictor`.
    """

    extraction: ExtractionPlan
    bundle: Bundle
    weights: WeightOverrides = ()
    faces: Faces = "one"
    abstain_below: float | None = None


def plan_prediction(
    bundle: Path,
    images: list[Path],
    out: Path,
    selection: Selection = ALL_IMAGES,
    landmark_file: str | None = None,
    weights: WeightOverrides = (),
    faces: Faces = "one",
    fresh: bool = False,
    abstain_below: float | None = None,
) -> PredictionPlan:
    """Open the bundle, list the images and compare them with the contents of `out`.

    Args:
        bundle: Folder of the bundle.
        images: Image files and folders.
        out: Folder of the results.
        selection: Layout and labels of the folders; all images are selected.
        landmark_file: File of the landmark model. None: the default.
        weights: Files of weights by backbone, instead of the defaults.
        faces: Which faces of an image get rows.
        fresh: Replace predictions of other images, of other faces or by another bundle.
        abstain_below: As for `Predictor`.

    Raises:
        UserError: The bundle cannot be used, or images or a model are missing.
        MismatchError: `out` has predictions of other images, of other faces or by another bundle,
            and `fresh` is not set.
    """
    require_output_outside(out, *images)
    require_outside_results(out, *images)
    opened = read_bundle(bundle)
    settings = opened.settings(landmark_file)
    require_weights(opened, weights)
    require_face_models(settings)
    if RunFolder(out).extract_record.exists():
        raise UserError(f"{out} is the run folder of an extraction. Pass another --out.")
    started = time.monotonic()
    selection = selection.model_copy(update={"frames": "all"})
    crop = settings.crop.model_copy(update={"faces": faces})
    settings = settings.model_copy(update={"selection": selection, "crop": crop})
    listing = list_images(images, settings.selection)
    rows = extract_fingerprint(settings, opened.manifest.recipe.models)
    extraction = ExtractionPlan(
        listing,
        settings,
        fingerprint({"rows": rows, "bundle": opened.sha256, "abstain_below": abstain_below}),
        listing.digest(),
        _finished_record(out),
        time.monotonic() - started,
    )
    plan = PredictionPlan(extraction, opened, weights, faces, abstain_below)
    return replace(plan, extraction=_compare_with_finished(plan, out, fresh))


def _finished_record(out: Path) -> dict[str, Any] | None:
    folder = PredictionFolder(out)
    return read_json(folder.record) if folder.predictions.is_dir() else None


def _compare_with_finished(plan: PredictionPlan, out: Path, fresh: bool) -> ExtractionPlan:
    """The extraction, with `finished` only if `out` has all predictions of exactly this plan."""
    extraction, finished = plan.extraction, plan.extraction.finished
    if finished is None or fresh:
        return replace(extraction, finished=None)
    changes = describe_changes(extraction, finished)
    if changes and finished.get("bundle", {}).get("sha256") != plan.bundle.sha256:
        changes = ["they come from another bundle"]
    elif changes and finished.get("faces") != plan.faces:
        changes = [f"--faces was {finished.get('faces')} and is now {plan.faces}"]
    elif changes and finished.get("abstain_below") != plan.abstain_below:
        was, now = (
            "not set" if value is None else value
            for value in (finished.get("abstain_below"), plan.abstain_below)
        )
        changes = [f"--abstain-below was {was} and is now {now}"]
    if changes:
        raise MismatchError(
            f"{out} has other predictions: {'; '.join(changes)}.\n"
            "Pass another --out to preserve them, or --fresh to replace them."
        )
    if rows_by_file(PredictionFolder(out).predictions) == finished.get("files"):
        return extraction
    return replace(extraction, finished=None)
