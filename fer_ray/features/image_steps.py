"""From images to their finished rows: what the guarded child process of a worker runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from fer_ray.faces.loaded_models import load_locator, load_reader
from fer_ray.features import steps
from fer_ray.features.face_rows import number_faces
from fer_ray.features.steps import IMAGE, EnterStage, ignore_stage
from fer_ray.settings.extraction import Decode, ExtractSettings
from fer_ray.sources.decoding import Decoded, decode_file
from fer_ray.vocabulary import Stage


class ModelStep(Protocol):
    """A step that appends the columns of a model: `BundleBackbones` and `BundleModel`."""

    def load(self) -> None:
        """Load the model."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Append the columns."""


@dataclass(frozen=True)
class ImageSteps:
    """Decode images, detect faces, locate landmarks, compute features, and predict.

    `decode_image` defines what an image is: here a path.

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

    def decode_image(self, image: Any, limits: Decode) -> Decoded:
        """Read and decode one image, given as a path."""
        return decode_file(image, limits)

    def __call__(self, images: list[Any], enter: EnterStage = ignore_stage) -> pa.Table:
        """Run all steps on a batch of images.

        Args:
            images: The images.
            enter: Called with the number of an image, or None for all, and the stage that begins.

        Returns:
            One row per face with its index and ID, or one with the reason for failure; with the
            number of the image in `IMAGE`. The rows do not depend on the other images.
        """
        settings = self.settings
        reader = load_reader(settings.crop, settings.landmarks)
        table = steps.read_faces(self._decoded(images, enter), reader, settings.crop.faces, enter)
        locator = load_locator(settings.landmarks)
        table = steps.landmarks(table, locator, settings.crop.size_px, enter)
        if self.backbones is not None:
            table = _by_row(self.backbones, table, enter)
        enter(None, Stage.FEATURES)
        table = steps.features(table, settings.features.sets, settings.crop.size_px)
        table = number_faces(table)
        return table if self.predict is None else self.predict(table)

    def _decoded(self, images: list[Any], enter: EnterStage) -> Iterator[Decoded]:
        for number, image in enumerate(images):
            enter(number, Stage.DECODE)
            yield self.decode_image(image, self.settings.decode)


def _by_row(step: ModelStep, table: pa.Table, enter: EnterStage) -> pa.Table:
    """Apply a slow step to one row at a time, so that the time limit applies to each image."""
    rows = []
    for row, image in enumerate(table[IMAGE].to_pylist()):
        enter(image, Stage.FEATURES)
        rows.append(step(table.slice(row, 1)))
    return pa.concat_tables(rows)
