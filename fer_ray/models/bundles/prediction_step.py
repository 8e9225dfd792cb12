"""Prediction as a step of a pipeline; each worker loads the bundle's model and backbones."""

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

if TYPE_CHECKING:
    from fer_ray.models.bundles.predictor import Predictor


@dataclass(frozen=True)
class PredictionStep:
    """Appends a model's predictions to extracted rows, in any process; small when serialised.

    Attributes:
        folder: Folder of the bundle, the same on every node.
        sha256: Hex digest that the bundle must have.
        weights: Weights files by backbone. The others use the backbone's default weights.
    """

    folder: Path
    sha256: str
    weights: WeightOverrides = ()

    def load(self) -> None:
        """Load the model and its backbones, so that a missing one is found before any image.

        Raises:
            UserError: The bundle or the weights cannot be used.
        """
        _bundle_backbones(self.folder, self.sha256, self.weights)

    def add_backbone_features(self, table: pa.Table) -> pa.Table:
        """Append the features of the bundle's backbones to rows that still contain their crops."""
        recipe = _bundle_predictor(self.folder, self.sha256).bundle.manifest.recipe
        if not recipe.backbones:
            return table
        backbones = _bundle_backbones(self.folder, self.sha256, self.weights)
        return append_features_of_crops(table, backbones, recipe.crop.size_px)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Append predictions to rows with the features of all backbones: `Predictor.__call__`."""
        return _bundle_predictor(self.folder, self.sha256)(table)


@cache
def _bundle_predictor(folder: Path, sha256: str) -> "Predictor":
    """The bundle's model, loaded once per process."""
    from fer_ray.models.bundles.predictor import Predictor  # loads scikit-learn, only in workers

    predictor = Predictor(folder)
    if predictor.sha256 != sha256:
        raise UserError(
            f"{folder} was replaced by another bundle since the job began. Rerun the command."
        )
    return predictor


@cache
def _bundle_backbones(folder: Path, sha256: str, weights: WeightOverrides) -> Backbones:
    return load_backbones(_bundle_predictor(folder, sha256).bundle, weights)
