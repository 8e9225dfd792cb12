"""`fer-ray bundle`: the model of an experiment with its recipe, figures and card."""

import logging
from collections import Counter
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment_groups import group_experiments
from fer_ray.evaluation.experiments.experiment_labels import describe_splits
from fer_ray.evaluation.experiments.results import (
    ExperimentResults,
    RunResults,
    find_experiment,
    read_results,
)
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.summary import summary_record
from fer_ray.faces.model_paths import model_hashes
from fer_ray.features.bottleneck_features import trained_record
from fer_ray.models.bundles.bundle import sha256_of
from fer_ray.models.bundles.bundle_manifest import (
    CARD,
    CHECK,
    MANIFEST,
    TRAINED_ON,
    TRAINING_FACES,
    BackboneRecipe,
    Evidence,
    Manifest,
    ModelRecipe,
    Training,
    sets_to_extract,
)
from fer_ray.models.bundles.check_rows import draw_check_rows
from fer_ray.models.bundles.confidence_fitting import describe_samples
from fer_ray.models.bundles.fitting import FittedModel, can_bundle, fit_model
from fer_ray.models.bundles.model_card import model_card
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.settings.extraction import ExtractSettings, extract_fingerprint
from fer_ray.settings.feature_sets import backbones_of
from fer_ray.sources.datasets.listing import PIXELS
from fer_ray.storage.environment import library_versions
from fer_ray.storage.files import format_json, write_folder
from fer_ray.storage.paths import require_output_outside, to_path
from fer_ray.storage.run_folder import frames_record
from fer_ray.vocabulary import EMOTIONS

logger = logging.getLogger(__name__)


def make_bundle(out: Path, target: Path, experiment: str | None = None) -> Predictor:
    """Save the model of an experiment as a bundle; an SVM is first fitted to all samples.

    Args:
        out: Run folder, locked by the caller.
        target: Folder of the bundle, which must be empty or not exist.
        experiment: Name of the experiment. None: the best one of the report's first group, among
            those with several trials.

    Returns:
        The bundle, read from the new folder.

    Raises:
        UserError: The experiment does not exist or cannot be bundled.
    """
    record = frames_record(out)
    settings = ExtractSettings.model_validate(record["settings"])
    models = _model_hashes(record, settings)
    if record["data"]["layout"] not in ("csv", PIXELS):  # a file may be the source
        require_output_outside(target, to_path(record["data"]["root"]))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists and is not empty. Pass a new folder as --to.")
    run = read_results(out)
    chosen, among = choose_experiment(run, out, experiment)
    fitted = fit_model(out, chosen)
    faces = describe_samples(fitted.samples, fitted.saved.feature_set)
    files = {
        fitted.saved.file: fitted.content,
        CHECK: _parquet(draw_check_rows(fitted, faces)),
        TRAINED_ON: _trained_on(run, fitted.samples),
        TRAINING_FACES: faces.to_bytes(),
    }
    manifest = Manifest(
        kind=fitted.kind,
        labels=fitted.labels,
        recipe=_feature_recipe(out, settings, fitted.saved.feature_set, models),
        model=fitted.saved,
        evidence=_evidence(run, chosen, among),
        training=_training(record, fitted),
        confidence=fitted.confidence,
        versions=library_versions(),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        files={},
    )
    _write(manifest, files, target)
    logger.info("%s: %s, %s", target, chosen.label, fitted.how)
    return Predictor(target)


def _model_hashes(record: dict[str, Any], settings: ExtractSettings) -> dict[str, str]:
    """SHA-256 of the model files that the frames were extracted with."""
    hashes = model_hashes(settings)
    if extract_fingerprint(settings, hashes) != record["fingerprint"]:
        raise UserError(
            "The frames were extracted with another model file or another version of fer_ray, so a "
            "bundle could not compute the same features. Extract again with --fresh."
        )
    return hashes


def choose_experiment(
    run: RunResults, out: Path, name: str | None
) -> tuple[ExperimentResults, int]:
    """The experiment of that name, or the best one under the most important protocol.

    Args:
        run: Results of the run folder.
        out: Run folder.
        name: Name of the experiment. None: the best one with several trials.

    Returns:
        The experiment, and the number of experiments that it was chosen among.

    Raises:
        UserError: No such experiment exists, or it cannot be bundled.
    """
    if name is not None:
        return _named_experiment(run, out, name), 1
    usable = tuple(item for item in run.experiments if can_bundle(out, item))
    if not usable:
        raise UserError(
            "The run folder has no experiment that can be bundled: run `fer-ray trials` first."
        )
    repeated = tuple(item for item in usable if item.summary.n_trials > 1)
    if not repeated:
        names = ", ".join(item.summary.experiment for item in usable)
        raise UserError(
            "All experiments have a single trial, which is too few to find the best one. Pass one "
            f"as --experiment: {names}."
        )
    first = group_experiments(repeated)[0]
    return first.best, len(first.models)


def _named_experiment(run: RunResults, out: Path, name: str) -> ExperimentResults:
    item = find_experiment(run.experiments, name)
    if not can_bundle(out, item):
        raise UserError(
            f"{name} cannot be bundled. A bundle contains an SVM, a head, or an SVM that a search "
            "selected, on features of single images (no delta). Pass another --experiment."
        )
    return item


def _trained_on(run: RunResults, samples: Samples) -> bytes:
    """Hashes of the training images, to exclude them from evaluations."""
    hashes = run.frames.set_index("image_id")["sha256"]
    return _parquet(pa.table({"sha256": sorted(set(hashes[samples.image_ids]))}))


def _parquet(table: pa.Table) -> bytes:
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _feature_recipe(
    out: Path, settings: ExtractSettings, feature_set: str, models: dict[str, str]
) -> ModelRecipe:
    records = {name: trained_record(out, name) for name in backbones_of(feature_set)}
    return ModelRecipe(
        decode=settings.decode,
        crop=settings.crop.model_copy(update={"file": None}),
        landmarks=settings.landmarks.model_copy(update={"file": None}),
        features=settings.features.model_copy(update={"sets": sets_to_extract(feature_set)}),
        models=models,
        backbones={
            name: BackboneRecipe(
                weights_sha256=record["weights"]["sha256"],
                weights_origin=record["weights"]["origin"],
                preprocessing=record["preprocessing"],
                input_px=record["input_px"],
                licence=record["weights"]["licence"],
                network=record.get("network"),
            )
            for name, record in records.items()
        },
    )


def _evidence(run: RunResults, chosen: ExperimentResults, among: int) -> Evidence:
    record = summary_record(chosen.summary)
    figures = {name: record[name] for name in Evidence.model_fields if name in record}
    figures["protocol"] = describe_splits(chosen.summary)
    origin = {"data": run.data_name, "synthetic": run.synthetic, "chosen_among": among}
    return Evidence.model_validate({**figures, **origin})


def _training(record: dict[str, Any], fitted: FittedModel) -> Training:
    samples = fitted.samples
    counts = Counter(samples.labels.tolist())
    return Training(
        images=len(samples.labels),
        subjects=len({name for name in samples.subjects if name is not None}),
        by_class={EMOTIONS[code]: counts[code] for code in sorted(counts)},
        how=fitted.how,
        frames_fingerprint=record["fingerprint"],
        source_digest=record["source_digest"],
    )


def _write(manifest: Manifest, files: dict[str, bytes], target: Path) -> None:
    """Write all files, the manifest last."""
    files = {**files, CARD: model_card(manifest).encode()}
    digests = {name: sha256_of(content) for name, content in sorted(files.items())}
    complete = manifest.model_copy(update={"files": digests}).model_dump(mode="json")
    try:
        write_folder([*files.items(), (MANIFEST, format_json(complete))], target)
    except OSError as problem:
        raise UserError(
            f"Cannot write the bundle {target}: {problem.strerror}. Pass another --to."
        ) from None
