"""From an experiment of a run folder to a bundle: fitted anew on all its rows, with its figures."""

import json
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

from fer_ray.bundle.card import card
from fer_ray.bundle.estimators import dump_estimator
from fer_ray.bundle.manifest import (
    CARD,
    CHECK,
    MANIFEST,
    TRAINED_ON,
    Evidence,
    Manifest,
    Member,
    Recipe,
    Training,
    sha256_of,
)
from fer_ray.bundle.predictor import Predictor
from fer_ray.config import ExtractSettings, TrialSettings, extract_fingerprint
from fer_ray.contracts import EMOTIONS
from fer_ray.data import store
from fer_ray.errors import UserError
from fer_ray.experiments import frames_record
from fer_ray.extract import FRAMES
from fer_ray.features.landmarks import model_file, model_sha256
from fer_ray.features.table import sets_of
from fer_ray.job import experiment_record
from fer_ray.learn import trials
from fer_ray.learn.samples import Samples, of_classes, read_samples
from fer_ray.learn.svm import CalibratedSvm
from fer_ray.report import wording
from fer_ray.report.run_folder import Experiment, RunFolder, read_run
from fer_ray.report.verdict import by_protocol
from fer_ray.versions import library_versions

MODEL = "model.skops"
CHECK_ROWS = 8  # made-up faces whose answers a bundle must give again
CHECK_SEED = 68

logger = logging.getLogger(__name__)


def make_bundle(out: Path, target: Path, experiment: str | None = None) -> Predictor:
    """Fit an experiment's model on all its rows and save it as a bundle.

    Args:
        out: Run folder, held by the caller.
        target: Folder of the bundle, which must not exist or be empty.
        experiment: Its name. None: the one that leads the report.

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
    run = read_run(out)
    chosen = _chosen(run, experiment)
    recipe = _recipe(out, chosen.summary.experiment)
    trial_settings = TrialSettings.model_validate(recipe["settings"])
    samples = of_classes(
        read_samples(out / FRAMES, trial_settings.feature_set), trial_settings.classes
    )
    model = CalibratedSvm(recipe["kernel"], trial_settings).fit(samples.features, samples.labels)
    files = {
        MODEL: dump_estimator(model.calibrated),
        CHECK: _check(model, trial_settings.feature_set, samples),
        TRAINED_ON: _trained_on(run, samples),
    }
    manifest = Manifest(
        kind="svm",
        labels=model.classes,
        recipe=_feature_recipe(settings, trial_settings.feature_set, landmark_model),
        members=(_member(chosen, trial_settings),),
        evidence=_evidence(run, chosen),
        training=_training(record, samples),
        versions=library_versions(),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        files={},
    )
    _write(manifest, files, target)
    logger.info("%s: %s, fitted on %d images", target, chosen.label, len(samples.labels))
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


def _chosen(run: RunFolder, name: str | None) -> Experiment:
    """The experiment of that name, or the best SVM under the protocol that counts most."""
    if name is None:
        svms = tuple(item for item in run.experiments if _is_svm(item))
        if not svms:
            raise UserError("The run folder holds no SVM trials: run `fer-ray trials` first.")
        return by_protocol(svms)[0][0]
    found = {item.summary.experiment: item for item in run.experiments}
    if name not in found:
        known = ", ".join(found) or "none"
        raise UserError(f"There is no experiment {name} in the run folder. There are: {known}.")
    if not _is_svm(found[name]):
        raise UserError(f"{name} is no SVM experiment; a bundle is made of one.")
    return found[name]


def _is_svm(item: Experiment) -> bool:
    return item.summary.classifier.startswith("svm-")


def _recipe(out: Path, experiment: str) -> dict[str, Any]:
    metadata = pq.read_schema(out / trials.TRIALS / f"{experiment}.parquet").metadata or {}
    text = metadata.get(trials.RECIPE.encode())
    if text is None:
        raise UserError(
            f"The trials of {experiment} are of a version of fer_ray that did not keep their "
            "settings with them. Run them again: remove that file below trials/ and repeat."
        )
    recipe: dict[str, Any] = json.loads(text)
    return recipe


def _check(model: CalibratedSvm, feature_set: str, samples: Samples) -> bytes:
    """Made-up rows about where the training images lie, of no person, and the model's answers."""
    drawn = np.random.default_rng(CHECK_SEED).standard_normal(
        (CHECK_ROWS, samples.features.shape[1])
    )
    rows = samples.features.mean(axis=0) + drawn * samples.features.std(axis=0)
    kept = [EMOTIONS.index(name) for name in model.classes]
    probabilities = model.probabilities(rows)[:, kept]
    return _parquet(
        pa.table({feature_set: _vectors(rows), "probabilities": _vectors(probabilities)})
    )


def _trained_on(run: RunFolder, samples: Samples) -> bytes:
    """Hashes of the training images, so that nobody takes them for test images."""
    of_image = run.frames.set_index("image_id")["sha256"]
    return _parquet(pa.table({"sha256": sorted(set(of_image[samples.image_ids]))}))


def _parquet(table: pa.Table) -> bytes:
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _vectors(values: NDArray[np.float64]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _feature_recipe(settings: ExtractSettings, feature_set: str, landmark_model: str) -> Recipe:
    return Recipe(
        decode=settings.decode,
        crop=settings.crop,
        landmarks=settings.landmarks.model_copy(update={"model": None}),
        features=settings.features.model_copy(update={"sets": sets_of(feature_set)}),
        landmark_model_sha256=landmark_model,
    )


def _member(chosen: Experiment, settings: TrialSettings) -> Member:
    names = ("scale", "C", "gamma", "degree", "tol")
    return Member(
        file=MODEL,
        classifier=chosen.summary.classifier,
        feature_set=settings.feature_set,
        parameters={name: getattr(settings, name) for name in names},
    )


def _evidence(run: RunFolder, chosen: Experiment) -> Evidence:
    record = experiment_record(chosen.summary)
    given = {name: record[name] for name in Evidence.model_fields if name in record}
    given["protocol"] = wording.split(chosen.summary)
    return Evidence.model_validate({**given, "data": run.data_name, "synthetic": run.synthetic})


def _training(record: dict[str, Any], samples: Samples) -> Training:
    counts = Counter(samples.labels.tolist())
    return Training(
        images=len(samples.labels),
        subjects=len({name for name in samples.subjects if name is not None}),
        by_class={EMOTIONS[code]: counts[code] for code in sorted(counts)},
        frames_fingerprint=record["fingerprint"],
        source_digest=record["source_digest"],
    )


def _write(manifest: Manifest, files: dict[str, bytes], target: Path) -> None:
    """Write all into a folder beside `target` and put it in place when it is whole."""
    files = {**files, CARD: card(manifest).encode()}
    digests = {name: sha256_of(content) for name, content in sorted(files.items())}
    target = target.resolve()
    new = target.with_name(f".{target.name}.new")
    store.remove(new)
    try:
        new.mkdir(parents=True)
        for name, content in files.items():
            (new / name).write_bytes(content)
        whole = manifest.model_copy(update={"files": digests}).model_dump(mode="json")
        store.write_json(whole, new / MANIFEST)
        store.replace_folder(new, target)
    except OSError as problem:
        raise UserError(f"Cannot write the bundle {target}: {problem.strerror}.") from None
