"""Bottleneck features to compute, and their identity.

Each backbone has a separate table, so a further one is computed alone, on the crops that the first
one cached (`crop_cache`). Finished blocks are stored and resumed as in extraction.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import MismatchError, UserError
from fer_ray.features.bottleneck_features import table_name
from fer_ray.networks.keras_backend import require_backend
from fer_ray.networks.weights import Weights, find_weights
from fer_ray.schemas import bottleneck_schema
from fer_ray.settings.backbones import BackboneSpec, absolute_weights, backbone_spec
from fer_ray.settings.base import fingerprint
from fer_ray.settings.extraction import Decode
from fer_ray.settings.networks import Augmentation
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import is_complete
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import SCHEMA_VERSION

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BottleneckPlan:
    """One table of bottleneck features of a run folder.

    Attributes:
        spec: The backbone.
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

    spec: BackboneSpec
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
    def name(self) -> str:
        """Name of the backbone."""
        return self.spec.name

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
        content = {
            "schema": SCHEMA_VERSION,
            **self._backbone_content,
            "draws": [self.draws, self.augmentation.model_dump()] if self.draws else None,
            "frames": self.frames_key,
        }
        if self.drawn_ids is not None:
            content["drawn"] = sorted(self.drawn_ids)
        return fingerprint(content)

    @property
    def _backbone_content(self) -> dict[str, Any]:
        """Everything that defines the network."""
        spec = self.spec
        content: dict[str, Any] = {
            "backbone": [self.name, spec.input_px, spec.preprocessing, self.maps],
            "weights": self.weights.sha256,
        }
        if spec.file_network is not None:
            content["network"] = spec.file_network.model_dump(mode="json")
        return content

    @cached_property
    def features_key(self) -> str:
        """Fingerprint of everything that defines the features of an image with a given content."""
        content = {
            "schema": SCHEMA_VERSION,
            **self._backbone_content,
            "augmentation": self.augmentation.model_dump() if self.draws else None,
            "extraction": self.frames_key.partition("-")[0],
        }
        return fingerprint(content)


def plan_bottleneck(
    record: dict[str, Any],
    backbone: BackboneSpec | str,
    weights_source: str | None,
    maps: bool = False,
    draws: int = 0,
    augmentation: Augmentation | None = None,
    drawn_ids: frozenset[str] | None = None,
) -> BottleneckPlan:
    """Plan the bottleneck features of the frames that `record` (extract.json) describes.

    Args:
        record: Record of the extraction.
        backbone: The backbone, or its name in `BACKBONES`.
        weights_source: `imagenet`, `embedded` or a file. None: the backbone's default.
        maps: Compute feature maps.
        draws: Augmented draws per image. 0: none.
        augmentation: Settings of the draws. None: the defaults.
        drawn_ids: Images with draws. None: all.

    Raises:
        UserError: The weights or Keras's backend are not available, or the backbone has no maps.
    """
    spec, settings = backbone_spec(backbone), record["settings"]
    source = weights_source and absolute_weights(weights_source)
    if spec.needs_keras:
        require_backend()
    if maps and spec.map_shape is None:
        raise UserError(f"{spec.name} has no feature maps: omit --maps.")
    return BottleneckPlan(
        spec, source, find_weights(spec, source), maps, draws, drawn_ids,
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
    raise MismatchError(
        f"{out} has features of {plan.table_name} from {_difference(record, plan)}.\n"
        "Pass another --out to preserve them, or --fresh to replace them and the experiments "
        "trained on them."
    )


def _difference(record: dict[str, Any], plan: BottleneckPlan) -> str:
    """What differs between computed features and the planned ones, in words."""
    old, new = record["weights"]["sha256"][:12], plan.weights.sha256[:12]
    if old != new:
        return f"the weights {old}…, not {new}…"
    before = f"{record['input_px']} px, {record['preprocessing']}"
    now = f"{plan.spec.input_px} px, {plan.spec.preprocessing}"
    return f"an input of {before} (not {now})" if before != now else "other draws or images"
