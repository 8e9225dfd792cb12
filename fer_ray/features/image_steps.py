"""From one image to its finished rows: what the guarded child process of a worker runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from fer_ray.faces.loaded_models import load_locator, load_reader
from fer_ray.features import steps
from fer_ray.features.face_rows import number_faces
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.vocabulary import Stage

EnterStage = Callable[[str], None]


class ModelStep(Protocol):
    """A step that appends the columns of a model: `BundleBackbones` and `BundleModel`."""

    def load(self) -> None:
        """Load the model."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Append the columns."""


@dataclass(frozen=True)
class ImageSteps:
    """Detect faces in a decoded image, locate landmarks, compute features, and predict.

    Attributes:
        settings: Extraction settings.
        backbones: Appends the features of backbones to rows that still contain their crops.
        predict: Appends predictions to each face.
    """

    settings: ExtractSettings
    backbones: ModelStep | None = None
    predict: ModelStep | None = None

    def load(self) -> None:
        """Load the models, so that a missing one is found before the first image.

        Raises:
            UserError: A model or a library is missing.
        """
        load_reader(self.settings.crop, self.settings.landmarks)
        for step in (self.backbones, self.predict):
            if step is not None:
                step.load()

    def finish(self, table: pa.Table, enter: EnterStage) -> pa.Table:
        """Run the steps that follow decoding.

        Args:
            table: One row with the columns of `steps.add_decoded`.
            enter: Called with the name of each stage as it begins.

        Returns:
            One row per face with its index and ID, or one with the reason for failure.
        """
        settings = self.settings
        enter(Stage.CROP)
        reader = load_reader(settings.crop, settings.landmarks)
        table = steps.read_faces(table, reader, settings.crop.faces)
        enter(Stage.LANDMARKS)
        table = steps.landmarks(table, load_locator(settings.landmarks), settings.crop.size_px)
        enter(Stage.FEATURES)
        if self.backbones is not None:
            table = self.backbones(table)
        table = steps.features(table, settings.features.sets, settings.crop.size_px)
        table = number_faces(table)
        return table if self.predict is None else self.predict(table)


class ExtractImage(ImageSteps):
    """Extract one listed image."""

    def __call__(self, image: tuple[Path, pa.Table], enter: EnterStage) -> pa.Table:
        """Extract one image.

        Args:
            image: The root folder of a listing, and one row of it.
            enter: Called with the name of each stage as it begins.

        Returns:
            As for `finish`: all columns of an extraction and, with a model, its predictions.
        """
        root, row = image
        enter(Stage.DECODE)
        return self.finish(steps.decode(row, root, self.settings.decode), enter)
