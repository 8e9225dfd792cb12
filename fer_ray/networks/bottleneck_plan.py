"""Bottleneck features to compute: their identity, and their input and output rows.

Each backbone has a separate table, so a further one is computed alone, on the crops that the first
one cached (`crop_cache`). Finished blocks are stored and resumed as in extraction.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_ray.errors import MismatchError, UserError
from fer_ray.features.bottleneck_features import table_name
from fer_ray.networks import augmentation
from fer_ray.networks.crop_cache import IMAGE_NUMBER, CropSource
from fer_ray.networks.keras_backend import require_backend
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import Weights, find_weights
from fer_ray.schemas import bottleneck_schema
from fer_ray.settings.backbones import BACKBONES, BackboneSpec
from fer_ray.settings.base import fingerprint
from fer_ray.settings.extraction import Decode
from fer_ray.settings.networks import Augmentation
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import is_complete, read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import StagedRows
from fer_ray.vocabulary import N_LANDMARKS, SCHEMA_VERSION, USABLE_STATUSES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BottleneckPlan:
    """One table of bottleneck features of a run folder.

    Attributes:
        name: Name of the backbone.
        weights_source: Weights as the user specified them. None: the backbone's default.
        weights: These weights on the driver.
        maps: Whether feature maps are computed instead of pooled features.
        draws: Augmented draws per image. 0: the crops themselves.
        drawn_ids: Images with draws, by image_id. None: all.
        augmentation: Settings of the draws.
        frames_key: Fingerprint of the frames that the crops come from.
        crop_px: Side of a crop in pixels.
        decode: Decoding limits.
    """

    name: str
    weights_source: str | None
    weights: Weights
    maps: bool
    draws: int
    drawn_ids: frozenset[str] | None
    augmentation: Augmentation
    frames_key: str
    crop_px: int
    decode: Decode

    @property
    def spec(self) -> BackboneSpec:
        """The backbone."""
        return BACKBONES[self.name]

    @property
    def table_name(self) -> str:
        """Name of the table and of its record in `bottleneck/`."""
        return table_name(self.name, self.maps, self.draws > 0)

    @property
    def schema(self) -> pa.Schema:
        """Schema of the table."""
        return bottleneck_schema(self.spec.n_features(self.maps))

    @cached_property
    def key(self) -> str:
        """Fingerprint of everything that defines the rows; weights enter by their content."""
        spec = self.spec
        content = {
            "schema": SCHEMA_VERSION,
            "backbone": [self.name, spec.input_px, spec.preprocessing, self.maps],
            "weights": self.weights.sha256,
            "draws": [self.draws, self.augmentation.model_dump()] if self.draws else None,
            "frames": self.frames_key,
        }
        if self.drawn_ids is not None:
            content["drawn"] = sorted(self.drawn_ids)
        return fingerprint(content)

    @cached_property
    def features_key(self) -> str:
        """Fingerprint of everything that defines the features of an image with a given content."""
        spec = self.spec
        content = {
            "schema": SCHEMA_VERSION,
            "backbone": [self.name, spec.input_px, spec.preprocessing, self.maps],
            "weights": self.weights.sha256,
            "augmentation": self.augmentation.model_dump() if self.draws else None,
            "extraction": self.frames_key.partition("-")[0],
        }
        return fingerprint(content)


def plan_bottleneck(
    record: dict[str, Any],
    name: str,
    weights_source: str | None,
    maps: bool = False,
    draws: int = 0,
    augmentation: Augmentation | None = None,
    drawn_ids: frozenset[str] | None = None,
) -> BottleneckPlan:
    """Plan the bottleneck features of the frames that `record` (extract.json) describes.

    Args:
        record: Record of the extraction.
        name: One of `BACKBONES`.
        weights_source: `imagenet`, `embedded` or a file. None: the backbone's default.
        maps: Compute feature maps.
        draws: Augmented draws per image. 0: none.
        augmentation: Settings of the draws. None: the defaults.
        drawn_ids: Images with draws. None: all.

    Raises:
        UserError: The weights or Keras's backend are not available, or the backbone has no maps.
    """
    spec, settings = BACKBONES[name], record["settings"]
    if spec.application:
        require_backend()
    if maps and spec.map_shape is None:
        raise UserError(f"{name} has no feature maps: omit --maps.")
    return BottleneckPlan(
        name, weights_source, find_weights(spec, weights_source), maps, draws, drawn_ids,
        augmentation or Augmentation(),
        f"{record['fingerprint']}-{record['source_digest']}",
        settings["crop"]["size_px"], Decode.model_validate(settings["decode"]),
    )  # fmt: skip


def finished_record(out: Path, plan: BottleneckPlan, fresh: bool) -> dict[str, Any] | None:
    """The record of exactly the planned features if `out` has all of them, or None.

    Raises:
        MismatchError: `out` has other features of this backbone, and `fresh` is not set.
    """
    run = RunFolder(out)
    record = read_json(run.bottleneck_record(plan.table_name))
    if record is None or fresh or not is_complete(run.bottleneck_table(plan.table_name), record):
        return None
    if record["key"] == plan.key:
        return record
    old, new = record["weights"]["sha256"][:12], plan.weights.sha256[:12]
    what = f"the weights {old}…, not {new}…" if old != new else "other draws or images"
    raise MismatchError(
        f"{out} has features of {plan.table_name} from {what}.\n"
        "Pass another --out to preserve them, or --fresh to replace them and the experiments "
        "trained on them."
    )


def usable_rows(frames: Path, plan: BottleneckPlan) -> pa.Table:
    """The columns that a worker needs of each usable image, one row per image or draw.

    Rows are in the order of `frames`; `IMAGE_NUMBER` counts the images.
    """
    columns = ["image_id", "path", "sha256", "box_xywh", "crop_angle"]
    columns += ["landmarks_xy"] if not plan.spec.application else []
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
    """The finished rows of some images.

    Args:
        table: Rows of `usable_rows`, (n,).
        crops: Their crops (n, crop_px, crop_px) uint8, already changed by their draws.
        plan: The features to compute.
        network: The backbone.
    """
    features = network(crops, _landmarks(table, plan))
    flat = pa.array(features.ravel())
    values = pa.FixedSizeListArray.from_arrays(flat, features.shape[1])
    return feature_rows(table, values, plan)


def feature_rows(table: pa.Table, features: pa.Array, plan: BottleneckPlan) -> pa.Table:
    """The finished rows of some images with their features (n, width), known or computed."""
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
    """Landmarks (n, 68, 2) float32, changed by their draws; None where they are not needed."""
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
    return Backbone(plan.name, weights.file, plan.maps, threads, gpu_share)
