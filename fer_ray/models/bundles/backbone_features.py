"""Bottleneck features of rows that are being predicted, by the very weights of the bundle."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.faces.crops import cut_again
from fer_ray.features.steps import CROP
from fer_ray.models.bundles.bundle import Bundle
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import UnreachableError, find_weights
from fer_ray.schemas import feature_column, vector
from fer_ray.settings.backbones import BACKBONES
from fer_ray.vocabulary import DESCRIBED, N_LANDMARKS

Networks = dict[str, Backbone]
Asked = tuple[tuple[str, str], ...]  # backbones with the weights that the user names for them


def require_weights(bundle: Bundle, asked: Asked) -> None:
    """Refuse weights other than those of the bundle, before any image is looked at.

    Raises:
        UserError: They are others, or cannot be had.
    """
    backbones = bundle.manifest.recipe.backbones
    if unknown := sorted({name for name, _ in asked} - backbones.keys()):
        raise UserError(
            f"Bundle {bundle.folder} has no backbone {', '.join(unknown)}. It has: "
            f"{', '.join(backbones) or 'none'}."
        )
    for name in backbones:
        _weights_file(bundle, name, dict(asked).get(name))


def _weights_file(bundle: Bundle, name: str, asked: str | None) -> Path:
    recipe = bundle.manifest.recipe.backbones[name]
    there = recipe.weights_sha256
    needed = (
        f"Bundle {bundle.folder} needs the weights of {name} that it was trained with (SHA-256 "
        f"{there}). Name their file with --weights {name}=FILE."
    )
    if asked is None and recipe.weights_origin == "file":
        raise UserError(needed)
    try:
        found = find_weights(BACKBONES[name], asked)
    except UnreachableError as problem:
        raise UserError(f"{needed}\n{problem}") from None
    if found.sha256 != there:
        raise UserError(
            f"Bundle {bundle.folder} was trained with other weights of {name} (SHA-256 "
            f"{there[:16]}…; those of {found.file} have {found.sha256[:16]}…). Name the right file "
            f"with --weights {name}=FILE."
        )
    return found.file


def with_bottleneck(table: pa.Table, root: Path, bundle: Bundle, asked: Asked) -> pa.Table:
    """Extracted rows with the features of the bundle's backbones; null where there is no face.

    Args:
        table: Extracted rows.
        root: Folder that their `path` is relative to.
        bundle: Whose backbones.
        asked: Weights by backbone; others are the backbone's own.
    """
    needed = table.select(["path", "sha256", "status", "box_xywh", "landmarks_xy"])
    networks = load_networks(bundle, asked)
    return _with_features(table, needed, networks, lambda row: _crop(row, root, bundle))


def with_bottleneck_of_crops(table: pa.Table, networks: Networks, size_px: int) -> pa.Table:
    """`with_bottleneck` of rows that still have their crops (`steps.CROP`): nothing is read.

    Args:
        table: Rows with landmarks, before their crops are dropped.
        networks: From `load_networks`.
        size_px: Side of a crop.
    """
    needed = table.select(["status", "landmarks_xy", CROP])
    return _with_features(table, needed, networks, lambda row: _pixels(row[CROP], size_px))


def load_networks(bundle: Bundle, asked: Asked) -> Networks:
    """The bundle's backbones, loaded once a process.

    Raises:
        UserError: Their weights are others here, or cannot be had.
    """
    files = {name: _weights_file(bundle, name, dict(asked).get(name))
             for name in bundle.manifest.recipe.backbones}  # fmt: skip
    return {name: _network(name, str(file)) for name, file in files.items()}


def _with_features(
    table: pa.Table,
    needed: pa.Table,
    networks: Networks,
    crop_of: Callable[[dict[str, Any]], NDArray[np.uint8]],
) -> pa.Table:
    """Image by image, so that no row depends on those beside it."""
    found: dict[str, list[NDArray[np.float32] | None]] = {name: [] for name in networks}
    for row in needed.to_pylist():
        crop = crop_of(row) if row["status"] in DESCRIBED else None
        for name, network in networks.items():
            found[name].append(None if crop is None else _features(network, crop, row))
    for name, vectors in found.items():
        values = pa.array(vectors, vector(BACKBONES[name].width))
        table = table.append_column(feature_column(name), values)
    return table


@cache
def _network(name: str, file: str) -> Backbone:
    """Loaded once a process; a worker has one processor, and gives it one crop at a time."""
    return Backbone(name, file, threads=1, batch_images=1)


def _crop(row: dict[str, Any], root: Path, bundle: Bundle) -> NDArray[np.uint8]:
    recipe = bundle.manifest.recipe
    try:
        return cut_again(row, root, recipe.decode, recipe.crop.size_px)
    except ValueError:
        raise UserError(f"{root / row['path']} has changed while it was being predicted.") from None


def _pixels(content: bytes, size_px: int) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8).reshape(size_px, size_px)


def _features(
    network: Backbone, crop: NDArray[np.uint8], row: dict[str, Any]
) -> NDArray[np.float32]:
    points = np.array(row["landmarks_xy"], np.float32).reshape(1, N_LANDMARKS, 2)
    one: NDArray[np.float32] = network(crop[None], points)[0]
    return one
