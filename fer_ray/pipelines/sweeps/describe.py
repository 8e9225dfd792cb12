"""From the bytes of one image to its rows of `results`, through the extraction steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from fer_ray.features import steps
from fer_ray.pipelines.sweeps.store_recipe import StoreRecipe, require_same_recipe
from fer_ray.schemas import RESULT_FIELDS, prediction_fields, results_schema
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import decode_bytes
from fer_ray.vocabulary import Stage, Status

if TYPE_CHECKING:  # importing it loads scikit-learn, which takes longer than the models
    from fer_ray.models.bundles.prediction_step import PredictionStep

MAX_FACES = {"largest": 1, "all": None}
EnterStage = Callable[[str], None]


@dataclass(frozen=True)
class DescribeImage:
    """Decode an image, detect faces, locate landmarks and compute features.

    Attributes:
        settings: Extraction settings.
        faces: Which faces have rows: the only one (as in the reference study), the largest, or all.
        predict: Model that adds its predictions to each face.
        recipe: The recipe that the rows will carry; None: libraries and models are not checked.
    """

    settings: ExtractSettings
    faces: Literal["one", "largest", "all"] = "one"
    predict: "PredictionStep | None" = None
    recipe: StoreRecipe | None = None

    def load(self) -> None:
        """Load the models, so that a missing one is found before the first image.

        Raises:
            UserError: A model or a library is missing, or differs from the recipe's.
        """
        if self.recipe is not None:
            require_same_recipe(self.recipe, self.settings.landmarks.model)
        steps.face_finder(self.settings.crop)
        steps.landmark_locator(self.settings.landmarks)
        if self.predict is not None:
            self.predict.load()

    def __call__(self, content: bytes, enter: EnterStage) -> pa.Table:
        """Describe one image.

        Args:
            content: The bytes of the image.
            enter: Called with the name of each stage as it begins.

        Returns:
            One row per face, or one with the reason for failure; `schema_of` without recipe and
            sweep.
        """
        settings = self.settings
        enter(Stage.DECODE)
        decoded = decode_bytes(content, settings.decode)
        table = steps.add_decoded(pa.table({"face_index": pa.array([0], pa.int16())}), [decoded])
        enter(Stage.CROP)
        if self.faces == "one":
            table = steps.crop(table, settings.crop)
        else:
            table = steps.crop_faces(table, settings.crop, MAX_FACES[self.faces])
        enter(Stage.LANDMARKS)
        table = steps.landmarks(table, settings.landmarks, settings.crop.size_px)
        enter(Stage.FEATURES)
        if self.predict is not None:
            table = self.predict.add_backbone_features(table)
        table = steps.features(table, settings.features.sets, settings.crop.size_px)
        return self._add_face_ids(table if self.predict is None else self.predict(table))

    def _add_face_ids(self, table: pa.Table) -> pa.Table:
        sha256, boxes = table["sha256"].to_pylist(), table["box_xywh"].to_pylist()
        ids = [face_id(content, box) for content, box in zip(sha256, boxes, strict=True)]
        order = pa.array(range(table.num_rows), pa.int16())
        table = table.set_column(table.column_names.index("face_index"), "face_index", order)
        return table.append_column("face_id", pa.array(ids, pa.string()))


def face_id(sha256: str, box_xywh: list[int] | None) -> str | None:
    """An identifier of a face that depends only on the image's content and the face's box."""
    return f"{sha256[:32]}-{'-'.join(map(str, box_xywh))}" if box_xywh else None


def schema_of(settings: ExtractSettings, labels: tuple[str, ...] = ()) -> pa.Schema:
    """The schema of `results` for these settings and, optionally, a model with these labels."""
    schema = results_schema({name: FEATURE_SETS[name].width for name in settings.features.sets})
    for field in prediction_fields(labels) if labels else ():
        schema = schema.append(field.with_nullable(True))
    return schema


def failed_rows(sha256: list[str], status: Status, stage: str, error: str) -> pa.Table:
    """A row of `results` for each content that could not be described."""
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
    """Cast `table` to `schema` and add recipe and sweep; missing columns become null."""
    size = table.num_rows
    table = table.append_column("recipe", pa.array([recipe] * size, pa.string()))
    table = table.append_column("sweep", pa.array([sweep] * size, pa.string()))
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(size, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
