"""From an experiment of a run folder to a bundle: its model with its recipe and its figures."""

import logging
from collections import Counter
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.comparable import grouped
from fer_ray.evaluation.results import ExperimentResults, RunResults, read_results
from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.split_wording import split
from fer_ray.evaluation.summary import figures_of
from fer_ray.faces.landmarks import model_file, model_sha256
from fer_ray.features.bottleneck_features import trained_record
from fer_ray.models.bundles.bundle import (
    CARD,
    CHECK,
    MANIFEST,
    TRAINED_ON,
    BackboneRecipe,
    Manifest,
    Recipe,
    extracted_sets,
    sha256_of,
)
from fer_ray.models.bundles.card import card
from fer_ray.models.bundles.evidence import Evidence, Training
from fer_ray.models.bundles.fitting import Fitted, can_fit, fit
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.settings.extraction import ExtractSettings, extract_fingerprint
from fer_ray.settings.feature_sets import backbones_of
from fer_ray.storage.environment import library_versions
from fer_ray.storage.files import remove, replace_folder, write_json
from fer_ray.storage.run_folder import frames_record
from fer_ray.vocabulary import EMOTIONS

CHECK_ROWS = 8  # made-up faces whose answers a bundle must give again
CHECK_SEED = 68

logger = logging.getLogger(__name__)


def make_bundle(out: Path, target: Path, experiment: str | None = None) -> Predictor:
    """Save an experiment's model as a bundle: an SVM is fitted anew on all its rows before.

    Args:
        out: Run folder, held by the caller.
        target: Folder of the bundle, which must not exist or be empty.
        experiment: Its name. None: the one that leads the report, of those with several trials.

    Returns:
        The bundle, read back.

    Raises:
        UserError: There is no such experiment, or it cannot be bundled.
    """
    record = frames_record(out)
    settings = ExtractSettings.model_validate(record["settings"])
    landmark_model = _landmark_model(record, settings)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is there already. Give a folder that is not there yet as --to.")
    run = read_results(out)
    chosen, among = chosen_experiment(run, out, experiment)
    fitted = fit(out, chosen)
    files = {
        fitted.saved.file: fitted.content,
        CHECK: _check(fitted),
        TRAINED_ON: _trained_on(run, fitted.samples),
    }
    manifest = Manifest(
        kind=fitted.kind,
        labels=fitted.labels,
        recipe=_feature_recipe(out, settings, fitted.saved.feature_set, landmark_model),
        model=fitted.saved,
        evidence=_evidence(run, chosen, among),
        training=_training(record, fitted),
        versions=library_versions(),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        files={},
    )
    _write(manifest, files, target)
    logger.info("%s: %s, %s", target, chosen.label, fitted.how)
    return Predictor(target)


def _landmark_model(record: dict[str, Any], settings: ExtractSettings) -> str:
    """The landmark model that the frames were made with, by its hash."""
    here = model_sha256(model_file(settings.landmarks.model))
    if extract_fingerprint(settings, here) != record["fingerprint"]:
        raise UserError(
            "The frames were made with another landmark model, or by another version of fer_ray, "
            "than is here, so a bundle could not say how to make such features again. Extract anew."
        )
    return here


def chosen_experiment(
    run: RunResults, out: Path, name: str | None
) -> tuple[ExperimentResults, int]:
    """The experiment of that name, or the best one under the protocol that counts most.

    Returns:
        It, and the number of those that it was chosen among.

    Raises:
        UserError: There is none, or none that can be made a model of.
    """
    if name is None:
        fit_for_use = tuple(item for item in run.experiments if can_fit(out, item))
        if not fit_for_use:
            raise UserError("The run folder holds no trials: run `fer-ray trials` first.")
        several = tuple(item for item in fit_for_use if item.summary.n_trials > 1)
        if not several:
            names = ", ".join(item.summary.experiment for item in fit_for_use)
            raise UserError(
                "Each experiment has a single trial, which is too few to say which one leads. Name "
                f"one with --experiment: {names}."
            )
        lead = grouped(several)[0]
        return lead.best, len(lead.models)
    found = {item.summary.experiment: item for item in run.experiments}
    if name not in found:
        known = ", ".join(found) or "none"
        raise UserError(f"There is no experiment {name} in the run folder. There are: {known}.")
    if not can_fit(out, found[name]):
        raise UserError(
            f"{name} is neither of SVM trials, nor a head, nor a search that chose an SVM, or it "
            "takes a delta, which an image alone does not have."
        )
    return found[name], 1


def _check(fitted: Fitted) -> bytes:
    """Made-up rows about where the training images lie, of no person, and the model's answers."""
    features = fitted.samples.features
    drawn = np.random.default_rng(CHECK_SEED).standard_normal((CHECK_ROWS, features.shape[1]))
    rows = features.mean(axis=0) + drawn * features.std(axis=0)
    kept = [EMOTIONS.index(name) for name in fitted.labels]
    probabilities = fitted.model.probabilities(rows)[:, kept]
    return _parquet(
        pa.table({"features": _vectors(rows), "probabilities": _vectors(probabilities)})
    )


def _trained_on(run: RunResults, samples: Samples) -> bytes:
    """Hashes of the training images, so that nobody takes them for test images."""
    of_image = run.frames.set_index("image_id")["sha256"]
    return _parquet(pa.table({"sha256": sorted(set(of_image[samples.image_ids]))}))


def _parquet(table: pa.Table) -> bytes:
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _vectors(values: NDArray[np.float64]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _feature_recipe(
    out: Path, settings: ExtractSettings, feature_set: str, landmark_model: str
) -> Recipe:
    records = {name: trained_record(out, name) for name in backbones_of(feature_set)}
    return Recipe(
        decode=settings.decode,
        crop=settings.crop,
        landmarks=settings.landmarks.model_copy(update={"model": None}),
        features=settings.features.model_copy(update={"sets": extracted_sets(feature_set)}),
        landmark_model_sha256=landmark_model,
        backbones={
            name: BackboneRecipe(
                weights_sha256=record["weights"]["sha256"],
                weights_origin=record["weights"]["origin"],
                preprocessing=record["preprocessing"],
                input_px=record["input_px"],
                licence=record["weights"]["licence"],
            )
            for name, record in records.items()
        },
    )


def _evidence(run: RunResults, chosen: ExperimentResults, among: int) -> Evidence:
    record = figures_of(chosen.summary)
    given = {name: record[name] for name in Evidence.model_fields if name in record}
    given["protocol"] = split(chosen.summary)
    told = {"data": run.data_name, "synthetic": run.synthetic, "chosen_among": among}
    return Evidence.model_validate({**given, **told})


def _training(record: dict[str, Any], fitted: Fitted) -> Training:
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
    """Write all into a folder beside `target` and put it in place when it is whole."""
    files = {**files, CARD: card(manifest).encode()}
    digests = {name: sha256_of(content) for name, content in sorted(files.items())}
    target = target.resolve()
    new = target.with_name(f".{target.name}.new")
    remove(new)
    try:
        new.mkdir(parents=True)
        for name, content in files.items():
            (new / name).write_bytes(content)
        whole = manifest.model_copy(update={"files": digests}).model_dump(mode="json")
        write_json(whole, new / MANIFEST)
        replace_folder(new, target)
    except OSError as problem:
        raise UserError(f"Cannot write the bundle {target}: {problem.strerror}.") from None
