"""Bottleneck features of images to predict, from the weights that the bundle was trained with."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.features.steps import CROP
from fer_ray.models.bundles.bundle import Bundle
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import find_weights
from fer_ray.schemas import feature_column, vector
from fer_ray.settings.backbones import BackboneSpec
from fer_ray.storage.downloads import UnreachableError
from fer_ray.vocabulary import N_LANDMARKS, USABLE_STATUSES

Backbones = dict[str, Backbone]
WeightOverrides = tuple[tuple[str, str], ...]  # backbones with the weights files for them


def require_weights(bundle: Bundle, overrides: WeightOverrides) -> None:
    """Check the weights of a bundle's backbones before any image is read.

    Args:
        bundle: A bundle.
        overrides: Weights files by backbone. The others use the backbone's default weights.

    Raises:
        UserError: Weights are not available, or are not those that the bundle was trained with.
    """
    backbones = bundle.manifest.recipe.backbones
    if unknown := sorted({name for name, _ in overrides} - backbones.keys()):
        raise UserError(
            f"Bundle {bundle.folder} has no backbone {', '.join(unknown)}. Its backbones: "
            f"{', '.join(backbones) or 'none'}."
        )
    for name in backbones:
        _weights_file(bundle, name, dict(overrides).get(name))


def _weights_file(bundle: Bundle, name: str, override: str | None) -> Path:
    recipe = bundle.manifest.recipe.backbones[name]
    expected = recipe.weights_sha256
    needed = (
        f"Bundle {bundle.folder} needs the weights of {name} that it was trained with (SHA-256 "
        f"{expected}). Pass their file with --weights {name}=FILE."
    )
    if override is None and recipe.weights_origin == "file":
        raise UserError(needed)
    try:
        weights = find_weights(recipe.spec(name), override)
    except UnreachableError as problem:
        raise UserError(f"{needed}\n{problem}") from None
    if weights.sha256 != expected:
        raise UserError(
            f"Bundle {bundle.folder} was trained with other weights of {name} (SHA-256 "
            f"{expected[:16]}…; {weights.source} has {weights.sha256[:16]}…). Pass the right file "
            f"with --weights {name}=FILE."
        )
    return weights.file


def load_backbones(bundle: Bundle, overrides: WeightOverrides) -> Backbones:
    """Load the bundle's backbones, once per process.

    Raises:
        UserError: As for `require_weights`.
    """
    recipes = bundle.manifest.recipe.backbones
    files = {name: _weights_file(bundle, name, dict(overrides).get(name)) for name in recipes}
    return {name: _load_backbone(recipes[name].spec(name), str(files[name])) for name in recipes}


@cache
def _load_backbone(spec: BackboneSpec, file: str) -> Backbone:
    """Load a backbone for single crops with one thread, since a worker has one CPU."""
    return Backbone(spec, file, threads=1, batch_images=1)


def append_features_of_crops(table: pa.Table, backbones: Backbones, size_px: int) -> pa.Table:
    """Append the features of backbones to rows that still contain their crops (`steps.CROP`).

    Args:
        table: Rows with landmarks and crops.
        backbones: From `load_backbones`.
        size_px: Side of a crop.

    Returns:
        The rows with a vector per backbone; null for rows without landmarks.
    """
    columns: dict[str, list[NDArray[np.float32] | None]] = {name: [] for name in backbones}
    for row in table.select(["status", "landmarks_xy", CROP]).to_pylist():
        usable = row["status"] in USABLE_STATUSES
        crop = _pixels(row[CROP], size_px) if usable else None
        for name, backbone in backbones.items():
            # One image at a time, so that no row depends on the others.
            columns[name].append(None if crop is None else _features(backbone, crop, row))
    for name, vectors in columns.items():
        values = pa.array(vectors, vector(backbones[name].spec.width))
        table = table.append_column(feature_column(name), values)
    return table


def _pixels(content: bytes, size_px: int) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8).reshape(size_px, size_px)


def _features(
    backbone: Backbone, crop: NDArray[np.uint8], row: dict[str, Any]
) -> NDArray[np.float32]:
    points = np.array(row["landmarks_xy"], np.float32).reshape(1, N_LANDMARKS, 2)
    features: NDArray[np.float32] = backbone(crop[None], points)[0]
    return features
