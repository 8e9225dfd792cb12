"""The steps of extraction, as functions from table to table, without Ray.

Each step except `read_faces` preserves the number and order of rows. It processes the rows that
are still usable and passes the others through. The rows do not depend on the batch size. Between
steps a table has the columns of `schemas`, and pixels in `GRAY` (image) or `CROP` until their last
use.
"""

from pathlib import Path
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
from fer_ray.settings.extraction import Decode, Faces
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import Decoded, decode_file
from fer_ray.vocabulary import (
    CASCADES,
    N_LANDMARKS,
    N_MESH_POINTS,
    Stage,
    Status,
)

GRAY = "gray"  # (height × width) bytes, both divided by the reduction
REDUCTION = "reduction"  # 1, or 2, 4 or 8 if the image was decoded at that fraction of its size
CROP = "crop"  # (size × size) bytes

_FACE = [
    (name, OUTCOME_TYPES[name])
    for name in (
        *("detector", "detector_score", "box_xywh", "crop_angle", "sharpness", "brightness"),
        *("cascade_faces", "other_faces"),
    )
]


def decode(table: pa.Table, root: Path, limits: Decode) -> pa.Table:
    """Read and decode the images in column `path`.

    Args:
        table: Rows of a listing.
        root: Folder that `path` is relative to.
        limits: Settings of decoding.

    Returns:
        The table with status, stage, error, sha256, mode, width, height and pixels.
    """
    images = [decode_file(root / path, limits) for path in table["path"].to_pylist()]
    return add_decoded(table, images)


def add_decoded(table: pa.Table, images: list[Decoded]) -> pa.Table:
    """Add the columns of `decode` for images that are decoded already, one per row."""
    return with_columns(
        table,
        status=pa.array([image.status.value for image in images], pa.string()),
        stage=pa.array([Stage.DECODE.value] * len(images), pa.string()),
        error=pa.array([image.error for image in images], pa.string()),
        sha256=pa.array([image.sha256 for image in images], pa.string()),
        mode=pa.array([image.mode for image in images], pa.string()),
        width=pa.array([image.width for image in images], pa.int32()),
        height=pa.array([image.height for image in images], pa.int32()),
        **{
            GRAY: to_bytes([image.gray for image in images]),
            REDUCTION: pa.array([image.reduction for image in images], pa.int8()),
        },
    )


def read_faces(table: pa.Table, reader: FaceReader, faces: Faces) -> pa.Table:
    """Find and crop the faces of each image; the pixels of the images are dropped.

    Args:
        table: Rows with the columns of `add_decoded`.
        reader: Finds and crops faces.
        faces: Which faces of an image get a row.

    Returns:
        One row per face, the largest of an image first, or one row for an image without a face to
        process.
    """
    outcome = StepOutcome(table, Stage.CROP)
    usable = set(outcome.usable_rows())
    rows: list[int] = []
    values: list[dict[str, Any]] = []
    for row in range(table.num_rows):
        reading = _read_image(table, row, reader, faces) if row in usable else None
        if reading is not None and reading.error is not None:
            outcome.set(row, reading.status, reading.error)
        for face in _face_values(reading):
            rows.append(row)
            values.append(face)
    table = with_columns(table.drop_columns([GRAY, REDUCTION]), **outcome.columns()).take(
        pa.array(rows, pa.int64())
    )
    columns = {name: pa.array([face.get(name) for face in values], type_) for name, type_ in _FACE}
    pixels = to_bytes([face.get(CROP) for face in values])
    meshes = to_vectors([face.get(MESH) for face in values], 3 * N_MESH_POINTS)
    return with_columns(table, **columns, **{CROP: pixels, MESH: meshes})


def _read_image(table: pa.Table, row: int, reader: FaceReader, faces: Faces) -> Reading:
    size = table["width"][row].as_py(), table["height"][row].as_py()
    return reader(_image(table, row), faces, table[REDUCTION][row].as_py(), size)


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


def landmarks(table: pa.Table, locator: Any, size_px: int) -> pa.Table:
    """Locate the 68 landmarks in each crop of side `size_px`.

    Args:
        table: Rows with the columns of `read_faces`.
        locator: One of `LANDMARK_MODELS`, loaded.
        size_px: Side of the crops.
    """
    if isinstance(locator, MeshLocator):
        return mesh_landmarks(table, locator)
    outcome = StepOutcome(table, Stage.LANDMARKS)
    counts: list[int | None] = [None] * table.num_rows
    points: list[NDArray[np.float32] | None] = [None] * table.num_rows
    for row in outcome.usable_rows():
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


def _image(table: pa.Table, row: int) -> NDArray[np.uint8]:
    by = table[REDUCTION][row].as_py()
    shape = [-(-table[side][row].as_py() // by) for side in ("height", "width")]
    return np.frombuffer(table[GRAY][row].as_buffer(), np.uint8).reshape(shape)


def _crop(table: pa.Table, row: int, size_px: int) -> NDArray[np.uint8]:
    return np.frombuffer(table[CROP][row].as_buffer(), np.uint8).reshape(size_px, size_px)


def pixels(column: pa.ChunkedArray, size_px: int) -> NDArray[np.uint8]:
    """Convert a column of bytes to crops (n, size, size) uint8."""
    return np.stack(
        [np.frombuffer(cell.as_buffer(), np.uint8).reshape(size_px, size_px) for cell in column]
    )
