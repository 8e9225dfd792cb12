"""The steps of extraction, as functions from table to table, without Ray.

Each step except `read_faces` preserves the number and order of rows. It processes the rows that
are still usable and passes the others through. The rows do not depend on the batch size. Between
steps a table has the columns of `schemas`, and pixels in `GRAY` (image) or `CROP` until their last
use.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.faces.mesh_locator import MeshLocator
from fer_ray.faces.mesh_topology import IBUG_POINTS
from fer_ray.faces.reader import FaceReader, Reading
from fer_ray.features.head_pose import pose
from fer_ray.features.image_quality import brightness, sharpness
from fer_ray.schemas import OUTCOME_TYPES, feature_column
from fer_ray.settings.extraction import Decode, Faces
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import Decoded, decode_file
from fer_ray.vocabulary import BLENDSHAPES as BLENDSHAPE_NAMES
from fer_ray.vocabulary import (
    CASCADES,
    N_LANDMARKS,
    N_MESH_POINTS,
    USABLE_STATUSES,
    Stage,
    Status,
)

GRAY = "gray"  # (height × width) bytes, both divided by the reduction
REDUCTION = "reduction"  # 1, or 2, 4 or 8 if the image was decoded at that fraction of its size
CROP = "crop"  # (size × size) bytes
MESH = "mesh"  # (478 × 3) float32, crop pixels
BLENDSHAPES = "blendshapes"  # 52 float32
N_BLENDSHAPES = len(BLENDSHAPE_NAMES)
POSE = ("yaw", "pitch", "roll")

_FACE = [
    (name, OUTCOME_TYPES[name])
    for name in (
        *("detector", "detector_score", "box_xywh", "crop_angle", "sharpness", "brightness"),
        *("cascade_faces", "other_faces"),
    )
]

cv2.setNumThreads(1)  # a worker has one CPU; OpenCV would use all of them


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
    return _with_columns(
        table,
        status=pa.array([image.status.value for image in images], pa.string()),
        stage=pa.array([Stage.DECODE.value] * len(images), pa.string()),
        error=pa.array([image.error for image in images], pa.string()),
        sha256=pa.array([image.sha256 for image in images], pa.string()),
        mode=pa.array([image.mode for image in images], pa.string()),
        width=pa.array([image.width for image in images], pa.int32()),
        height=pa.array([image.height for image in images], pa.int32()),
        **{
            GRAY: _to_bytes([image.gray for image in images]),
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
    outcome = _Outcome(table, Stage.CROP)
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
    table = _with_columns(table.drop_columns([GRAY, REDUCTION]), **outcome.columns()).take(rows)
    columns = {name: pa.array([face.get(name) for face in values], type_) for name, type_ in _FACE}
    pixels = _to_bytes([face.get(CROP) for face in values])
    meshes = _to_vectors([face.get(MESH) for face in values], 3 * N_MESH_POINTS)
    return _with_columns(table, **columns, **{CROP: pixels, MESH: meshes})


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
        return _mesh_landmarks(table, locator)
    outcome = _Outcome(table, Stage.LANDMARKS)
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
    return _with_columns(
        table,
        **outcome.columns(),
        landmark_faces=pa.array(counts, pa.int16()),
        landmarks_xy=_to_vectors(points, 2 * N_LANDMARKS),
    )


def _mesh_landmarks(table: pa.Table, locator: MeshLocator) -> pa.Table:
    """The 68 landmarks and the blendshapes of the meshes that framed the crops."""
    outcome = _Outcome(table, Stage.LANDMARKS)
    points: list[NDArray[np.float32] | None] = [None] * table.num_rows
    movements: list[NDArray[np.float32] | None] = [None] * table.num_rows
    poses: list[list[float] | None] = [None] * table.num_rows
    for row in outcome.usable_rows():
        flat = table[MESH][row].as_py()
        if flat is None:
            outcome.set(row, Status.NO_LANDMARKS, "the face mesh found no face in the box")
            continue
        mesh = np.array(flat, dtype=np.float64).reshape(N_MESH_POINTS, 3)
        points[row] = mesh[list(IBUG_POINTS), :2].astype(np.float32).ravel()
        movements[row] = locator.blendshapes(mesh)
        yaw, pitch, roll = pose(mesh[None])[0]
        poses[row] = [yaw, pitch, roll + table["crop_angle"][row].as_py()]
    angles = {
        name: pa.array([angle and angle[axis] for angle in poses], pa.float32())
        for axis, name in enumerate(POSE)
    }
    return _with_columns(
        table,
        **outcome.columns(),
        landmarks_xy=_to_vectors(points, 2 * N_LANDMARKS),
        **angles,
        **{BLENDSHAPES: _to_vectors(movements, N_BLENDSHAPES)},
    )


def features(table: pa.Table, sets: tuple[str, ...], size_px: int) -> pa.Table:
    """Compute `sets` from landmarks and crops of side `size_px`; the crops are dropped."""
    outcome = _Outcome(table, Stage.FEATURES)
    rows = list(outcome.usable_rows())
    inputs = _FeatureInputs(table, rows, size_px)
    columns = {}
    for name in sets:
        feature_set = FEATURE_SETS[name]
        values = feature_set.compute(*(inputs[key] for key in feature_set.inputs))
        vectors: list[NDArray[np.float32] | None] = [None] * table.num_rows
        for row, value in zip(rows, values.astype(np.float32), strict=True):
            vectors[row] = value
        columns[feature_column(name)] = _to_vectors(vectors, feature_set.width)
    working = [name for name in (CROP, MESH, BLENDSHAPES) if name in table.column_names]
    return _with_columns(table.drop_columns(working), **outcome.columns(), **columns)


class _FeatureInputs:
    """The arrays that feature sets need, of the usable rows of a table."""

    def __init__(self, table: pa.Table, rows: list[int], size_px: int) -> None:
        self._table, self._rows, self._size = table, rows, size_px

    def __getitem__(self, name: str) -> Any:
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
        flat = [self._table[column][row].as_py() for row in self._rows]
        return np.array(flat, dtype=np.float64).reshape(-1, *shape)


class _Outcome:
    """Status, stage and error of each row after a step."""

    def __init__(self, table: pa.Table, stage: Stage) -> None:
        self._stage = stage
        self._columns = {name: table[name].to_pylist() for name in ("status", "stage", "error")}

    def usable_rows(self) -> Iterator[int]:
        """Indices of the rows that are still usable; each is marked as having reached the stage."""
        for row, status in enumerate(list(self._columns["status"])):
            if status in USABLE_STATUSES:
                self._columns["stage"][row] = self._stage.value
                yield row

    def set(self, row: int, status: Status, error: str) -> None:
        self._columns["status"][row] = status.value
        self._columns["error"][row] = error

    def columns(self) -> dict[str, pa.Array]:
        return {name: pa.array(values, pa.string()) for name, values in self._columns.items()}


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


def _to_bytes(images: list[NDArray[np.uint8] | None]) -> pa.Array:
    cells = [None if image is None else image.tobytes() for image in images]
    return pa.array(cells, pa.large_binary())


def _to_vectors(values: list[NDArray[np.float32] | None], width: int) -> pa.Array:
    """A fixed-size list column; null for rows without a vector."""
    filled = [np.zeros(width, np.float32) if value is None else value for value in values]
    flat = pa.array(np.concatenate(filled) if filled else np.zeros(0, np.float32), pa.float32())
    absent = pa.array([value is None for value in values], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(flat, width, mask=absent)


def _with_columns(table: pa.Table, **columns: Any) -> pa.Table:
    """The table with columns replaced if they exist, else appended."""
    for name, values in columns.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, values)
        else:
            table = table.append_column(name, values)
    return table
