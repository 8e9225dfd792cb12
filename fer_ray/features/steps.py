"""The steps of extraction, as functions from table to table, without Ray.

Each step except `crop_faces` preserves the number and order of rows. It processes the rows that
are still usable and passes the others through. The rows do not depend on the batch size. Between
steps a table has the columns of `schemas`, and pixels in `GRAY` (image) or `CROP` until their last
use.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.faces.crops import Box, FaceFinder, crop_face
from fer_ray.faces.landmarks import LandmarkLocator
from fer_ray.schemas import feature_column, vector
from fer_ray.settings.extraction import Crop, Decode, Landmarks
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import Decoded, decode_file
from fer_ray.vocabulary import CASCADES, N_LANDMARKS, USABLE_STATUSES, Stage, Status

GRAY = "gray"  # (height × width) bytes, both divided by the reduction
REDUCTION = "reduction"  # 1, or 2, 4 or 8 if the image was decoded at that fraction of its size
CROP = "crop"  # (size × size) bytes

_CASCADE_FACES = pa.struct([(name, pa.int16()) for name in CASCADES])

# One model per process, shared by all tasks that run in it.
face_finder = cache(FaceFinder)
landmark_locator = cache(LandmarkLocator)

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


def crop(table: pa.Table, settings: Crop) -> pa.Table:
    """Find the one face of each image and crop it; the pixels of the image are dropped."""
    finder = face_finder(settings)
    outcome = _Outcome(table, Stage.CROP)
    size = table.num_rows
    cascades: list[str | None] = [None] * size
    boxes: list[tuple[int, ...] | None] = [None] * size
    faces: list[dict[str, int | None] | None] = [None] * size
    crops: list[NDArray[np.uint8] | None] = [None] * size
    for row in outcome.usable_rows():
        gray = _image(table, row)
        detection = finder(gray)
        faces[row] = {name: detection.faces.get(name) for name in CASCADES}
        if detection.box_xywh is None:
            outcome.set(row, detection.status, _face_counts(detection.faces))
        else:
            cascades[row] = detection.cascade
            boxes[row] = _to_full_size(table, row, detection.box_xywh)
            crops[row] = crop_face(gray, detection.box_xywh, settings.size_px)
    return _with_columns(
        table.drop_columns([GRAY, REDUCTION]),
        **outcome.columns(),
        cascade=pa.array(cascades, pa.string()),
        box_xywh=pa.array(boxes, vector(4, pa.int32())),
        cascade_faces=pa.array(faces, _CASCADE_FACES),
        **{CROP: _to_bytes(crops)},
    )


def crop_faces(table: pa.Table, settings: Crop, max_faces: int | None) -> pa.Table:
    """Find all faces of a single image and crop them.

    Unlike `crop`, this uses the faces of the first cascade that finds any.

    Args:
        table: One row.
        settings: Parameters of the cascades and the crop.
        max_faces: Maximum number of faces; None for no limit.

    Returns:
        One row per face, the largest first, or one row with status no_face.
    """
    finder = face_finder(settings)
    if not list(_Outcome(table, Stage.CROP).usable_rows()):
        return crop(table, settings)
    gray = _image(table, 0)
    cascade, boxes, counts = finder.find_all(gray)
    if not boxes:
        return crop(table, settings)
    boxes = boxes[:max_faces]
    crops = [crop_face(gray, box, settings.size_px) for box in boxes]
    boxes = [_to_full_size(table, 0, box) for box in boxes]
    table = table.drop_columns([GRAY, REDUCTION]).take([0] * len(boxes))
    faces = {name: counts.get(name) for name in CASCADES}
    return _with_columns(
        table,
        stage=pa.array([Stage.CROP.value] * len(boxes), pa.string()),
        cascade=pa.array([cascade] * len(boxes), pa.string()),
        box_xywh=pa.array(boxes, vector(4, pa.int32())),
        cascade_faces=pa.array([faces] * len(boxes), _CASCADE_FACES),
        **{CROP: _to_bytes(list(crops))},
    )


def landmarks(table: pa.Table, settings: Landmarks, size_px: int) -> pa.Table:
    """Locate the 68 landmarks in each crop of side `size_px`."""
    locator = landmark_locator(settings)
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
                outcome.set(row, Status.OK_BY_BOX, "dlib found no face; the cascade's box was used")
    return _with_columns(
        table,
        **outcome.columns(),
        landmark_faces=pa.array(counts, pa.int16()),
        landmarks_xy=_to_vectors(points, 2 * N_LANDMARKS),
    )


def features(table: pa.Table, sets: tuple[str, ...], size_px: int) -> pa.Table:
    """Compute `sets` from landmarks and crops of side `size_px`; the crops are dropped."""
    outcome = _Outcome(table, Stage.FEATURES)
    rows = list(outcome.usable_rows())
    flat = [table["landmarks_xy"][row].as_py() for row in rows]
    points = np.array(flat, dtype=np.float64).reshape(-1, N_LANDMARKS, 2)
    crops = [_crop(table, row, size_px) for row in rows]
    columns = {}
    for name in sets:
        feature_set = FEATURE_SETS[name]
        values = feature_set.compute(points, crops)
        vectors: list[NDArray[np.float32] | None] = [None] * table.num_rows
        for row, value in zip(rows, values.astype(np.float32), strict=True):
            vectors[row] = value
        columns[feature_column(name)] = _to_vectors(vectors, feature_set.width)
    return _with_columns(table.drop_columns([CROP]), **outcome.columns(), **columns)


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


def _face_counts(faces: dict[str, int]) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in faces.items())
    return f"no cascade found exactly one face (faces found: {counts})"


def _image(table: pa.Table, row: int) -> NDArray[np.uint8]:
    by = table[REDUCTION][row].as_py()
    shape = [-(-table[side][row].as_py() // by) for side in ("height", "width")]
    return np.frombuffer(table[GRAY][row].as_buffer(), np.uint8).reshape(shape)


def _to_full_size(table: pa.Table, row: int, box_xywh: Box) -> Box:
    """Convert a box of the decoded image to full-size pixels, clipped to the image."""
    by, width, height = (table[name][row].as_py() for name in (REDUCTION, "width", "height"))
    x, y, w, h = (by * side for side in box_xywh)
    return x, y, min(w, width - x), min(h, height - y)


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
