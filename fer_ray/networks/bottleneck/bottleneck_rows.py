"""Rows of bottleneck features: the images of a run folder in, features out."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.networks.bottleneck import augmentation
from fer_ray.networks.bottleneck.bottleneck_plan import BottleneckPlan
from fer_ray.networks.bottleneck.crop_cache import IMAGE_NUMBER, CropSource
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import find_weights
from fer_ray.settings.base import fingerprint
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import StagedRows
from fer_ray.vocabulary import N_LANDMARKS, USABLE_STATUSES

logger = logging.getLogger(__name__)


def usable_rows(frames: Path, plan: BottleneckPlan) -> pa.Table:
    """The columns that a worker needs of each usable image, one row per image or draw.

    Rows are in the order of `frames`; `IMAGE_NUMBER` counts the images.
    """
    columns = ["image_id", "path", "sha256", "box_xywh", "crop_angle"]
    columns += ["landmarks_xy"] if plan.spec.needs_landmarks else []
    usable = ("status", "in", [status.value for status in USABLE_STATUSES])
    table = read_table(frames, columns=columns, filters=[usable]).combine_chunks()
    table = table.append_column(IMAGE_NUMBER, pa.array(np.arange(table.num_rows), pa.int64()))
    if not plan.draws:
        return table.append_column("draw", pa.nulls(table.num_rows, pa.int16()))
    if plan.drawn_ids is not None:
        table = table.filter(pc.is_in(table["image_id"], pa.array(sorted(plan.drawn_ids))))
    repeated = table.take(np.repeat(np.arange(table.num_rows), plan.draws))
    numbers = np.tile(np.arange(plan.draws, dtype=np.int16), table.num_rows)
    return repeated.append_column("draw", pa.array(numbers))


def crop_source(
    out: Path, root: Path, plan: BottleneckPlan, rows: pa.Table, gib: float
) -> CropSource:
    """Crops of a run folder, from its cache or from the images.

    Args:
        out: Run folder.
        root: Folder of the images.
        plan: The features to compute.
        rows: From `usable_rows`.
        gib: Space for cached crops in GiB. Nothing is cached if all crops need more.
    """
    required = len(rows[IMAGE_NUMBER].unique()) * plan.crop_px**2 / 2**30
    if required > gib:
        logger.info("%.1f GiB of crops are not cached: execution.crops_gib is %g", required, gib)
    writes = required <= gib and not plan.draws  # a block of draws has only a few images
    cache = StagedRows(RunFolder(out).crops / fingerprint(plan.frames_key)[:16])
    return CropSource(
        root, plan.decode, plan.crop_px, plan.augmentation, cache, tuple(cache.spans()), writes
    )


def compute_rows(
    table: pa.Table, crops: NDArray[np.uint8], plan: BottleneckPlan, network: Backbone
) -> pa.Table:
    """Compute the finished rows of images.

    Args:
        table: Rows of `usable_rows`, (n,).
        crops: Their crops (n, crop_px, crop_px) uint8, already transformed by their draws.
        plan: The features to compute.
        network: The backbone.
    """
    features = network(crops, _landmarks(table, plan))
    flat = pa.array(features.ravel())
    values = pa.FixedSizeListArray.from_arrays(flat, features.shape[1])
    return feature_rows(table, values, plan)


def feature_rows(table: pa.Table, features: pa.Array, plan: BottleneckPlan) -> pa.Table:
    """The finished rows of images with their features (n, width), known or computed."""
    n = table.num_rows
    columns = {
        "image_id": table["image_id"],
        "sha256": table["sha256"],
        "draw": table["draw"],
        "backbone": [plan.name] * n,
        "weights_sha256": [plan.weights.sha256] * n,
        "preprocessing": [plan.spec.preprocessing] * n,
        "features": features,
    }
    return pa.table(columns).cast(plan.schema)


def _landmarks(table: pa.Table, plan: BottleneckPlan) -> NDArray[np.float32] | None:
    """Landmarks (n, 68, 2) float32, transformed by their draws; None if they are not needed."""
    if "landmarks_xy" not in table.column_names:
        return None
    flat = table["landmarks_xy"].combine_chunks().flatten().to_numpy()
    points: NDArray[np.float32] = flat.reshape(-1, N_LANDMARKS, 2).copy()
    for index, row in enumerate(table.select(["image_id", "draw"]).to_pylist()):
        if row["draw"] is not None:
            change = augmentation.draw(plan.augmentation, row["image_id"], row["draw"])
            points[index] = augmentation.apply_to_landmarks(change, points[index], plan.crop_px)
    return points


def load_backbone(plan: BottleneckPlan, threads: int | None, gpu_share: float) -> Backbone:
    """Load the backbone on this node, with exactly the planned weights.

    Raises:
        UserError: This node has other weights, or none.
    """
    weights = find_weights(plan.spec, plan.weights_source)
    if weights.sha256 != plan.weights.sha256:
        raise UserError(
            f"{weights.source} differs between the nodes of the cluster. Pass a file on shared "
            "storage as the weights."
        )
    return Backbone(plan.spec, weights.file, plan.maps, threads, gpu_share)
