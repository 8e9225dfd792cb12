"""The steps of extraction, as functions from table to table, without Ray.

The steps after `read_faces` preserve the number and order of rows. They process the rows that are
still usable and pass the others through. The rows do not depend on the batch size. Between steps a
table has the columns of `schemas`, the number of the image in `IMAGE`, and the pixels of the crop
in `CROP` until their last use.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.faces.mesh_locator import MeshLocator
from fer_ray.faces.reader import FaceReader, Reading
from fer_ray.features.image_quality import brightness, sharpness
from fer_ray.features.mesh_landmarks import (
    BLENDSHAPES,
    MESH,
    N_BLENDSHAPES,
    POSE,
    mesh_landmarks,
)
from fer_ray.features.step_columns import (
    StepOutcome,
    read_vectors,
    to_bytes,
    to_vectors,
    with_columns,
)
from fer_ray.schemas import OUTCOME_TYPES, feature_column
from fer_ray.settings.extraction import Faces
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import Decoded
from fer_ray.vocabulary import (
    CASCADES,
    N_LANDMARKS,
    N_MESH_POINTS,
    Stage,
    Status,
)

IMAGE = "image"  # number of the image in its batch, from 0
CROP = "crop"  # (size × size) bytes

_COLUMNS = {IMAGE: pa.int64()} | {
    name: OUTCOME_TYPES[name]
    for name in (
        *("status", "stage", "error", "sha256", "mode", "width", "height"),
        *("detector", "detector_score", "box_xywh", "crop_angle", "sharpness", "brightness"),
        *("cascade_faces", "other_faces"),
    )
}

# Called with the number of an image, or None for all of a batch, and with the stage that begins.
EnterStage = Callable[[int | None, Stage], None]


def ignore_stage(image: int | None, stage: Stage) -> None:
    """Do nothing; the default of `enter`."""


def read_faces(
    images: Iterable[Decoded],
    reader: FaceReader,
    faces: Faces,
    enter: EnterStage = ignore_stage,
) -> pa.Table:
    """Find and crop the faces of decoded images, whose pixels are then dropped.

    Args:
        images: The images; one at a time is in memory.
        reader: Finds and crops faces.
        faces: Which faces of an image get a row.
        enter: Called with the number of an image and the stage that begins.

    Returns:
        One row per face, the largest of an image first, or one row for an image without a face to
        process; with the number of the image in `IMAGE`.
    """
    rows: list[dict[str, Any]] = []
    for number, image in enumerate(images):
        outcome = {IMAGE: number, **_decoding_values(image)}
        reading = None
        if image.gray is not None:
            enter(number, Stage.CROP)
            size = image.width or 0, image.height or 0
            reading = reader(image.gray, faces, image.reduction, size)
            outcome |= {
                "status": reading.status.value, "stage": Stage.CROP.value, "error": reading.error
            }  # fmt: skip
        rows += [{**outcome, **face} for face in _face_values(reading)]
    columns = {
        name: pa.array([row.get(name) for row in rows], type_) for name, type_ in _COLUMNS.items()
    }
    pixels = to_bytes([row.get(CROP) for row in rows])
    meshes = to_vectors([row.get(MESH) for row in rows], 3 * N_MESH_POINTS)
    return pa.table({**columns, CROP: pixels, MESH: meshes})


def _decoding_values(image: Decoded) -> dict[str, Any]:
    return {
        "status": image.status.value,
        "stage": Stage.DECODE.value,
        "error": image.error,
        "sha256": image.sha256,
        "mode": image.mode,
        "width": image.width,
        "height": image.height,
    }


def _face_values(reading: Reading | None) -> list[dict[str, Any]]:
    """Values of the columns of each face; one set of them for an image without a face."""
    if reading is None:
        return [{}]
    counts = reading.cascade_faces
    image: dict[str, Any] = {
        "cascade_faces": counts and {name: counts.get(name) for name in CASCADES},
        "other_faces": max(0, reading.seen - len(reading.faces)),
    }
    return [
        {
            **image,
            "detector": framed.face.found_by,
            "detector_score": framed.face.score,
            "box_xywh": framed.box_xywh,
            "crop_angle": framed.angle,
            "sharpness": sharpness(framed.crop),
            "brightness": brightness(framed.crop),
            CROP: framed.crop,
            MESH: None if framed.mesh is None else framed.mesh.astype(np.float32).ravel(),
        }
        for framed in reading.faces
    ] or [image]


def landmarks(
    table: pa.Table, locator: Any, size_px: int, enter: EnterStage = ignore_stage
) -> pa.Table:
    """Locate the 68 landmarks in each crop of side `size_px`.

    Args:
        table: Rows with the columns of `read_faces`.
        locator: One of `LANDMARK_MODELS`, loaded.
        size_px: Side of the crops.
        enter: Called with the number of an image and the stage that begins.
    """
    if isinstance(locator, MeshLocator):
        enter(None, Stage.LANDMARKS)
        return mesh_landmarks(table, locator)
    outcome = StepOutcome(table, Stage.LANDMARKS)
    counts: list[int | None] = [None] * table.num_rows
    points: list[NDArray[np.float32] | None] = [None] * table.num_rows
    images = table[IMAGE].to_pylist()
    for row in outcome.usable_rows():
        enter(images[row], Stage.LANDMARKS)
        counts[row], located = locator(_crop(table, row, size_px))
        if located is None:
            outcome.set(row, Status.NO_LANDMARKS, "dlib found no face in the crop")
        else:
            points[row] = located.ravel()
            if not counts[row]:
                outcome.set(
                    row, Status.OK_BY_BOX, "dlib found no face; the detector's box was used"
                )
    return with_columns(
        table,
        **outcome.columns(),
        landmark_faces=pa.array(counts, pa.int16()),
        landmarks_xy=to_vectors(points, 2 * N_LANDMARKS),
    )


def features(table: pa.Table, sets: tuple[str, ...], size_px: int) -> pa.Table:
    """Compute `sets` from landmarks and crops of side `size_px`; the crops are dropped."""
    outcome = StepOutcome(table, Stage.FEATURES)
    rows = list(outcome.usable_rows())
    inputs = _FeatureInputs(table, rows, size_px)
    columns = {}
    for name in sets:
        feature_set = FEATURE_SETS[name]
        values = feature_set.compute(*(inputs[key] for key in feature_set.inputs))
        vectors: list[NDArray[np.float32] | None] = [None] * table.num_rows
        for row, value in zip(rows, values.astype(np.float32), strict=True):
            vectors[row] = value
        columns[feature_column(name)] = to_vectors(vectors, feature_set.width)
    working = [name for name in (CROP, MESH, BLENDSHAPES) if name in table.column_names]
    return with_columns(table.drop_columns(working), **outcome.columns(), **columns)


class _FeatureInputs:
    """The arrays that feature sets need, of the usable rows of a table."""

    def __init__(self, table: pa.Table, rows: list[int], size_px: int) -> None:
        self._table, self._rows, self._size = table, rows, size_px
        self._arrays: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """An array, which several feature sets may read."""
        if name not in self._arrays:
            self._arrays[name] = self._read(name)
        return self._arrays[name]

    def _read(self, name: str) -> Any:
        if name == "crops":
            return [_crop(self._table, row, self._size) for row in self._rows]
        if name == "pose":
            angles = [self._table[axis].to_numpy()[self._rows] for axis in POSE]
            return np.stack(angles, axis=1).astype(np.float64)
        column, shape = {
            "landmarks_xy": ("landmarks_xy", (N_LANDMARKS, 2)),
            "mesh_xyz": (MESH, (N_MESH_POINTS, 3)),
            "blendshapes": (BLENDSHAPES, (N_BLENDSHAPES,)),
        }[name]
        vectors = read_vectors(self._table[column])[self._rows]
        return vectors.astype(np.float64).reshape(-1, *shape)


def _crop(table: pa.Table, row: int, size_px: int) -> NDArray[np.uint8]:
    return np.frombuffer(table[CROP][row].as_buffer(), np.uint8).reshape(size_px, size_px)


def pixels(column: pa.ChunkedArray, size_px: int) -> NDArray[np.uint8]:
    """Convert a column of bytes to crops (n, size, size) uint8."""
    return np.stack(
        [np.frombuffer(cell.as_buffer(), np.uint8).reshape(size_px, size_px) for cell in column]
    )
