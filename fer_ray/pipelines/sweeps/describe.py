"""From the bytes of one image to its rows of results, by the steps of extraction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from fer_ray.features import steps
from fer_ray.models.bundles.predictor import Answering
from fer_ray.pipelines.sweeps.store_recipe import Recipe, require_here
from fer_ray.schemas import RESULT_FIELDS, answer_fields, results_schema
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import decode_bytes
from fer_ray.vocabulary import Stage, Status

MOST_FACES = {"largest": 1, "all": None}
Stages = Callable[[str], None]


@dataclass(frozen=True)
class DescribeImage:
    """Decode, find faces, place landmarks, compute features.

    Attributes:
        settings: Those of extraction.
        faces: The study's rule of exactly one, the largest, or all.
        answer: A model that adds its answers to each face.
        recipe: That the rows will carry; None: any libraries and models will do.
    """

    settings: ExtractSettings
    faces: Literal["one", "largest", "all"] = "one"
    answer: Answering | None = None
    recipe: Recipe | None = None

    def load(self) -> None:
        """Load the models, so that their lack shows before the first image.

        Raises:
            UserError: A model or a library is missing here, or is not the recipe's.
        """
        if self.recipe is not None:
            require_here(self.recipe, self.settings.landmarks.model)
        steps.face_finder(self.settings.crop)
        steps.landmark_locator(self.settings.landmarks)
        if self.answer is not None:
            self.answer.load()

    def __call__(self, content: bytes, enter: Stages) -> pa.Table:
        """One row per face, or one that says why there is none; `schema_of` without bookkeeping."""
        settings = self.settings
        enter(Stage.DECODE)
        found = decode_bytes(content, settings.decode)
        table = steps.decoded(pa.table({"face_index": pa.array([0], pa.int16())}), [found])
        enter(Stage.CROP)
        if self.faces == "one":
            table = steps.crop(table, settings.crop)
        else:
            table = steps.crop_faces(table, settings.crop, MOST_FACES[self.faces])
        enter(Stage.LANDMARKS)
        table = steps.landmarks(table, settings.landmarks, settings.crop.size_px)
        enter(Stage.FEATURES)
        if self.answer is not None:
            table = self.answer.of_crops(table)
        table = steps.features(table, settings.features.sets, settings.crop.size_px)
        return self._identified(table if self.answer is None else self.answer(table))

    def _identified(self, table: pa.Table) -> pa.Table:
        sha256, boxes = table["sha256"].to_pylist(), table["box_xywh"].to_pylist()
        ids = [face_id(one, box) for one, box in zip(sha256, boxes, strict=True)]
        order = pa.array(range(table.num_rows), pa.int16())
        table = table.set_column(table.column_names.index("face_index"), "face_index", order)
        return table.append_column("face_id", pa.array(ids, pa.string()))


def face_id(sha256: str, box_xywh: list[int] | None) -> str | None:
    """A face's name: of the image's content and its place, so the same wherever and whenever."""
    return f"{sha256[:32]}-{'-'.join(map(str, box_xywh))}" if box_xywh else None


def schema_of(settings: ExtractSettings, labels: tuple[str, ...] = ()) -> pa.Schema:
    """Schema of the results that `settings` make, with the answers of a model of these labels."""
    schema = results_schema({name: FEATURE_SETS[name].width for name in settings.features.sets})
    for field in answer_fields(labels) if labels else ():
        schema = schema.append(field.with_nullable(True))
    return schema


def failed_rows(sha256: list[str], status: Status, stage: str, error: str) -> pa.Table:
    """A row of results for each content that could not be described."""
    count = len(sha256)
    given = {
        "sha256": sha256,
        "face_index": [0] * count,
        "status": [status.value] * count,
        "stage": [stage or Stage.DECODE.value] * count,
        "error": [error] * count,
    }
    fields = [field for field in RESULT_FIELDS if field.name in given]
    return pa.table(given, schema=pa.schema(fields))


def completed(table: pa.Table, schema: pa.Schema, recipe: str, sweep: str) -> pa.Table:
    """`table` in `schema`, with recipe and sweep; columns that it lacks are null."""
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
