"""Bottleneck features as a job: what is done already, what is left, and the record of it. No Ray.

Blocks are kept, resumed and joined as those of extraction are; each backbone has a table of its
own, so that adding one computes it alone, on the crops that the first one kept (`crops`).
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
from fer_ray.networks.crop_cache import AT, CropSource
from fer_ray.networks.keras_backend import require_backend
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import Weights, find_weights
from fer_ray.schemas import bottleneck_schema
from fer_ray.settings.backbones import BACKBONES, BackboneSpec
from fer_ray.settings.base import fingerprint
from fer_ray.settings.extraction import Decode
from fer_ray.settings.networks import Augmentation
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.staging import StagedRows
from fer_ray.vocabulary import DESCRIBED, N_LANDMARKS, SCHEMA_VERSION

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bottleneck:
    """Bottleneck features that may be had of a run folder's frames.

    Attributes:
        name: Of the backbone.
        asked: Weights as the user named them; None: the backbone's own.
        weights: Those weights.
        maps: Whole maps in place of pooled features.
        draws: Augmented draws of each image; 0: the crops as they are.
        drawn: The images that are drawn, by image_id; None: all.
        augmentation: How these are drawn.
        frames_key: Names the frames that the crops come from.
        crop_px: Side of a crop.
        decode: What may be decoded.
    """

    name: str
    asked: str | None
    weights: Weights
    maps: bool
    draws: int
    drawn: frozenset[str] | None
    augmentation: Augmentation
    frames_key: str
    crop_px: int
    decode: Decode

    @property
    def spec(self) -> BackboneSpec:
        """Of the backbone."""
        return BACKBONES[self.name]

    @property
    def table_name(self) -> str:
        """Of its folder and record below `bottleneck/`."""
        return table_name(self.name, self.maps, self.draws > 0)

    @property
    def schema(self) -> pa.Schema:
        """Of its rows."""
        return bottleneck_schema(self.spec.numbers(self.maps))

    @cached_property
    def key(self) -> str:
        """Over all that defines its rows; weights count by their content."""
        spec = self.spec
        content = {
            "schema": SCHEMA_VERSION,
            "backbone": [self.name, spec.input_px, spec.preprocessing, self.maps],
            "weights": self.weights.sha256,
            "draws": [self.draws, self.augmentation.model_dump()] if self.draws else None,
            "frames": self.frames_key,
        }
        if self.drawn is not None:
            content["drawn"] = sorted(self.drawn)
        return fingerprint(content)


def plan_bottleneck(
    record: dict[str, Any],
    name: str,
    asked: str | None,
    maps: bool = False,
    draws: int = 0,
    augmentation: Augmentation | None = None,
    drawn: frozenset[str] | None = None,
) -> Bottleneck:
    """What is asked for, of the frames that `record` (extract.json) tells of.

    Raises:
        UserError: The weights or Keras's backend cannot be had, or the backbone has no maps.
    """
    spec, settings = BACKBONES[name], record["settings"]
    if spec.application:
        require_backend()
    if maps and spec.map_shape is None:
        raise UserError(f"{name} has no feature maps: leave out --maps.")
    return Bottleneck(
        name, asked, find_weights(spec, asked), maps, draws, drawn,
        augmentation or Augmentation(),
        f"{record['fingerprint']}-{record['source_digest']}",
        settings["crop"]["size_px"], Decode.model_validate(settings["decode"]),
    )  # fmt: skip


def finished_record(out: Path, wanted: Bottleneck, fresh: bool) -> dict[str, Any] | None:
    """The record of these very features, if `out` holds them all.

    Raises:
        MismatchError: It holds others of this backbone, and `fresh` is not set.
    """
    before = read_json(RunFolder(out).bottleneck_record(wanted.table_name))
    if before is None or not RunFolder(out).bottleneck_table(wanted.table_name).is_dir() or fresh:
        return None
    if before["key"] == wanted.key:
        return before
    old, new = before["weights"]["sha256"][:12], wanted.weights.sha256[:12]
    what = f"weights {old}…, not {new}…" if old != new else "other draws, or of other images"
    raise MismatchError(
        f"{out} holds features of {wanted.table_name} made with {what}.\n"
        "Give another --out to keep them, or --fresh to replace them, and with them what was "
        "trained on them."
    )


def usable_rows(frames: Path, wanted: Bottleneck) -> pa.Table:
    """What a worker needs of each usable image, in the order of `frames`, once a draw.

    `crops.AT` numbers the images.
    """
    columns = ["image_id", "path", "sha256", "box_xywh"]
    columns += ["landmarks_xy"] if not wanted.spec.application else []
    usable = ("status", "in", [status.value for status in DESCRIBED])
    table = read_table(frames, columns=columns, filters=[usable]).combine_chunks()
    table = table.append_column(AT, pa.array(np.arange(table.num_rows), pa.int64()))
    if not wanted.draws:
        return table.append_column("draw", pa.nulls(table.num_rows, pa.int16()))
    if wanted.drawn is not None:
        table = table.filter(pc.is_in(table["image_id"], pa.array(sorted(wanted.drawn))))
    repeated = table.take(np.repeat(np.arange(table.num_rows), wanted.draws))
    numbers = np.tile(np.arange(wanted.draws, dtype=np.int16), table.num_rows)
    return repeated.append_column("draw", pa.array(numbers))


def crop_source(
    out: Path, root: Path, wanted: Bottleneck, rows: pa.Table, gib: float
) -> CropSource:
    """Where the crops of a run folder come from.

    Args:
        out: Run folder.
        root: Where the images lie.
        wanted: What is computed of them.
        rows: `usable_rows`.
        gib: Room that crops may take, in GiB; where all would take more, none is kept.
    """
    needed = len(rows[AT].unique()) * wanted.crop_px**2 / 2**30
    keeping = needed <= gib and not wanted.draws  # of draws, a block has few images
    if needed > gib:
        logger.info("%.1f GiB of crops are not kept: execution.crops_gib is %g", needed, gib)
    kept = StagedRows(RunFolder(out.resolve()).crops / fingerprint(wanted.frames_key)[:16])
    return CropSource(
        root, wanted.decode, wanted.crop_px, wanted.augmentation, kept, tuple(kept.spans()), keeping
    )


def landmarks_of(table: pa.Table, wanted: Bottleneck) -> NDArray[np.float32] | None:
    """Landmarks (n, 68, 2) float32 of some rows, changed by their draws; None if not needed."""
    if "landmarks_xy" not in table.column_names:
        return None
    flat = table["landmarks_xy"].combine_chunks().flatten().to_numpy()
    points: NDArray[np.float32] = flat.reshape(-1, N_LANDMARKS, 2).copy()
    for at, row in enumerate(table.select(["image_id", "draw"]).to_pylist()):
        if row["draw"] is not None:
            how = augmentation.draw(wanted.augmentation, row["image_id"], row["draw"])
            points[at] = augmentation.apply_to_landmarks(how, points[at], wanted.crop_px)
    return points


def rows_of(
    table: pa.Table, crops: NDArray[np.uint8], wanted: Bottleneck, network: Backbone
) -> pa.Table:
    """The finished rows of some images."""
    features = network(crops, landmarks_of(table, wanted))
    n, width = features.shape
    values = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), width)
    columns = {
        "image_id": table["image_id"],
        "draw": table["draw"],
        "backbone": [wanted.name] * n,
        "weights_sha256": [wanted.weights.sha256] * n,
        "preprocessing": [wanted.spec.preprocessing] * n,
        "features": values,
    }
    return pa.table(columns).cast(wanted.schema)


def load_backbone(wanted: Bottleneck, threads: int | None, gpu_share: float) -> Backbone:
    """The network on this node, with the very weights that were planned.

    Raises:
        UserError: This node has others, or none.
    """
    weights = find_weights(wanted.spec, wanted.asked)
    if weights.sha256 != wanted.weights.sha256:
        raise UserError(f"{weights.file} is another file on one of the nodes than on the first.")
    return Backbone(wanted.name, weights.file, wanted.maps, threads, gpu_share)
