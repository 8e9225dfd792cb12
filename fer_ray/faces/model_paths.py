"""Files of face models on this machine: given by path, in a package, or downloaded."""

import logging
import os
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.faces.landmarks import packaged_model_file
from fer_ray.settings.extraction import WHOLE, Crop, ExtractSettings, Landmarks
from fer_ray.settings.face_models import DETECTORS, LANDMARK_MODELS
from fer_ray.settings.model_files import MODEL_FILES, ModelFile
from fer_ray.storage.downloads import (
    PublishedFile,
    cache_file,
    download,
    file_digest,
    is_offline,
    local_copy,
)
from fer_ray.storage.paths import to_path

MODELS_FOLDER = "FER_RAY_MODELS"  # environment variable: where downloaded model files are

logger = logging.getLogger(__name__)


def cached_file(spec: ModelFile) -> Path:
    """The path of a downloaded model file: in `FER_RAY_MODELS`, or in the user's cache."""
    if folder := os.environ.get(MODELS_FOLDER):
        return Path(folder).expanduser().absolute() / spec.file
    return cache_file("models", spec.file)


def stored_file(spec: ModelFile) -> Path | None:
    """The file of a model if it is on this machine, in its package or downloaded."""
    if spec.package:
        try:
            return packaged_model_file(spec.file)
        except UserError:
            return None
    file = cached_file(spec)
    return file if file.is_file() and file.stat().st_size == spec.size else None


def fetch(spec: ModelFile) -> Path:
    """The file of a model on this machine, downloaded if it is missing.

    Raises:
        UserError: The file is missing and cannot be downloaded, or downloads are forbidden.
    """
    if spec.package:
        return packaged_model_file(spec.file)
    if (file := stored_file(spec)) is not None:
        return file
    if not is_offline():
        logger.warning("downloading %s (%s) from %s", spec.file, spec.licence, spec.url)
    file = cached_file(spec)
    return download(
        PublishedFile(
            spec.file, spec.url, f"sha256:{spec.sha256}", file, MODELS_FOLDER, "--landmark-file"
        )
    )


def landmark_file(settings: Landmarks) -> Path:
    """The landmark model's file on this machine.

    Raises:
        UserError: The file is missing.
    """
    name = LANDMARK_MODELS[settings.model].file
    return _file(str(name), settings.file, "landmarks.file")


def detector_file(crop: Crop, landmarks: Landmarks) -> Path | None:
    """The detector's file on this machine; None if it needs none.

    A detector shares the file of the landmark model if both come from the same one.

    Raises:
        UserError: The file is missing.
    """
    name = DETECTORS[crop.detector].file
    if name is None or crop.faces == WHOLE:
        return None
    shared = landmarks.file if LANDMARK_MODELS[landmarks.model].file == name else None
    return _file(name, crop.file or shared, "crop.file")


def model_hashes(settings: ExtractSettings) -> dict[str, str]:
    """Hex SHA-256 of the model files of an extraction, by setting.

    Raises:
        UserError: A file is missing.
    """
    files = {
        "landmarks": landmark_file(settings.landmarks),
        "detector": detector_file(settings.crop, settings.landmarks),
    }
    return {name: file_digest(file, "sha256") for name, file in files.items() if file is not None}


def describe_models(hashes: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Name, licence and hash of model files, for records.

    Args:
        hashes: From `model_hashes`.

    Returns:
        `name`, `licence`, `commercial_use` and `sha256` by setting; all but the hash are None for a
        file that is not in `MODEL_FILES`.
    """
    known = {spec.sha256: spec for spec in MODEL_FILES.values()}
    return {setting: _describe(known.get(sha256), sha256) for setting, sha256 in hashes.items()}


def _describe(spec: ModelFile | None, sha256: str) -> dict[str, Any]:
    return {
        "name": spec and spec.name,
        "licence": spec and spec.licence,
        "commercial_use": spec and spec.commercial,
        "sha256": sha256,
    }


def _file(name: str, custom: str | None, setting: str) -> Path:
    if custom is None:
        return fetch(MODEL_FILES[name])
    try:
        return local_copy(to_path(custom))
    except FileNotFoundError:
        raise UserError(
            f"The model file {custom} does not exist. Correct the setting {setting}."
        ) from None
