"""From the bytes of images to their rows of `results`, through the extraction steps."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fer_ray.features.image_steps import ImageSteps
from fer_ray.pipelines.sweeps.planning.store_recipe import StoreRecipe, require_same_recipe
from fer_ray.schemas import complete_columns, prediction_fields
from fer_ray.settings.extraction import Decode, ExtractSettings
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import Decoded, decode_bytes
from fer_ray.store_schemas import RESULT_FIELDS, results_schema
from fer_ray.vocabulary import Stage, Status


@dataclass(frozen=True)
class SweepSteps(ImageSteps):
    """Process contents of images: bytes in, rows of `schema_of` without recipe and sweep out.

    Attributes:
        recipe: The recipe that the rows will carry; None: libraries and models are not checked.
    """

    recipe: StoreRecipe | None = None

    def load(self) -> None:
        """Load the models; they and the libraries must be those of the recipe."""
        if self.recipe is not None:
            require_same_recipe(self.recipe, self.settings)
        super().load()

    def decode_image(self, image: Any, limits: Decode) -> Decoded:
        """Decode the bytes of one image."""
        return decode_bytes(image, limits)


def schema_of(settings: ExtractSettings, labels: tuple[str, ...] = ()) -> pa.Schema:
    """The schema of `results` for these settings and, optionally, a model with these labels."""
    schema = results_schema({name: FEATURE_SETS[name].width for name in settings.features.sets})
    for field in prediction_fields(labels) if labels else ():
        schema = schema.append(field.with_nullable(True))
    return schema


def failed_rows(sha256: list[str], status: Status, stage: str, error: str) -> pa.Table:
    """A row of `results` for each content that could not be processed."""
    count = len(sha256)
    columns = {
        "sha256": sha256,
        "face_index": [0] * count,
        "status": [status.value] * count,
        "stage": [stage or Stage.DECODE.value] * count,
        "error": [error] * count,
    }
    fields = [field for field in RESULT_FIELDS if field.name in columns]
    return pa.table(columns, schema=pa.schema(fields))


def complete_rows(table: pa.Table, schema: pa.Schema, recipe: str, sweep: str) -> pa.Table:
    """`table` with recipe and sweep, and with all columns of `schema`."""
    size = table.num_rows
    table = table.append_column("recipe", pa.array([recipe] * size, pa.string()))
    table = table.append_column("sweep", pa.array([sweep] * size, pa.string()))
    return complete_columns(table, schema)
