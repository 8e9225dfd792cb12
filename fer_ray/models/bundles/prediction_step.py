"""A bundle as steps of a pipeline, which load its backbones and its model once per process.

The steps are small when serialised. Backbones need the crops, and a network head runs next to them.
An SVM needs only rows, so a worker can load it while its child process loads everything else.
"""

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.models.bundles.backbone_features import (
    Backbones,
    WeightOverrides,
    append_features_of_crops,
    load_backbones,
)
from fer_ray.models.bundles.bundle import Bundle, read_bundle

if TYPE_CHECKING:
    from fer_ray.models.bundles.predictor import Predictor

_LOCK = threading.RLock()  # several threads of a process share a model


@dataclass(frozen=True)
class BundleBackbones:
    """Appends the features of a bundle's backbones to rows that still contain their crops.

    Attributes:
        folder: Folder of the bundle, the same on every node.
        sha256: Hex digest that the bundle must have.
        weights: Weights files by backbone. The others use the backbone's default weights.
    """

    folder: Path
    sha256: str
    weights: WeightOverrides = ()

    def load(self) -> None:
        """Load the backbones, so that a missing one is found before any image.

        Raises:
            UserError: The bundle or the weights cannot be used.
        """
        _bundle_backbones(self.folder, self.sha256, self.weights)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Append a vector per backbone; null for rows without landmarks."""
        backbones = _bundle_backbones(self.folder, self.sha256, self.weights)
        size_px = _read_same_bundle(self.folder, self.sha256).manifest.recipe.crop.size_px
        return append_features_of_crops(table, backbones, size_px)


@dataclass(frozen=True)
class BundleModel:
    """Appends the predictions of a bundle's model to rows with all features that it needs.

    Attributes:
        folder: Folder of the bundle, the same on every node.
        sha256: Hex digest that the bundle must have.
        abstain_below: As for `Predictor`.
    """

    folder: Path
    sha256: str
    abstain_below: float | None = None

    def load(self) -> None:
        """Load the model.

        Raises:
            UserError: The bundle cannot be used.
        """
        with _LOCK:
            _bundle_predictor(self.folder, self.sha256, self.abstain_below)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Append predictions: `Predictor.__call__`."""
        with _LOCK:
            return _bundle_predictor(self.folder, self.sha256, self.abstain_below)(table)


@cache
def _bundle_predictor(folder: Path, sha256: str, abstain_below: float | None) -> "Predictor":
    from fer_ray.models.bundles.predictor import Predictor  # loads scikit-learn, only in workers

    predictor = Predictor(folder, abstain_below)
    _require_same(folder, predictor.sha256, sha256)
    return predictor


@cache
def _bundle_backbones(folder: Path, sha256: str, weights: WeightOverrides) -> Backbones:
    return load_backbones(_read_same_bundle(folder, sha256), weights)


@cache
def _read_same_bundle(folder: Path, sha256: str) -> Bundle:
    bundle = read_bundle(folder)
    _require_same(folder, bundle.sha256, sha256)
    return bundle


def _require_same(folder: Path, found: str, expected: str) -> None:
    if found != expected:
        raise UserError(
            f"{folder} was replaced by another bundle since the job began. Rerun the command."
        )
