"""The steps of extraction, as functions from table to table. No Ray in here.

Each keeps the number and order of rows, works on those that are still ok and passes the others
through, and gives the same rows however they are batched. Between steps a table carries the columns
of `contracts`, and the pixels in `GRAY` (image) or `CROP` until their last use.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.faces.crops import Box, FaceFinder, cut
from fer_ray.faces.landmarks import LandmarkLocator
from fer_ray.schemas import feature_column, vector
from fer_ray.settings.extraction import Crop, Decode, Landmarks
from fer_ray.settings.feature_sets import FEATURE_SETS
from fer_ray.sources.decoding import Decoded, decode_file
from fer_ray.vocabulary import CASCADES, DESCRIBED, N_LANDMARKS, Stage, Status

GRAY = "gray"  # (height × width) bytes, both divided by the reduction
REDUCTION = "reduction"  # 1, or the part of its size at which the image was decoded
CROP = "crop"  # (size × size) bytes

# One model a process, however many tasks it runs.
face_finder = cache(FaceFinder)
landmark_locator = cache(LandmarkLocator)

cv2.setNumThreads(1)  # a worker has one processor; OpenCV would take all of them


def decode(table: pa.Table, root: Path, limits: Decode) -> pa.Table:
    """Read and decode `path` below `root`: adds status, stage, error, sha256, size and pixels."""
    return decoded(table, [decode_file(root / path, limits) for path in table["path"].to_pylist()])


def decoded(table: pa.Table, found: list[Decoded]) -> pa.Table:
    """Add what decoding gave, an entry for each row: status, stage, error, sha256, size, pixels."""
    return _with_columns(
        table,
        status=pa.array([one.status.value for one in found], pa.string()),
        stage=pa.array([Stage.DECODE.value] * len(found), pa.string()),
        error=pa.array([one.error for one in found], pa.string()),
        sha256=pa.array([one.sha256 for one in found], pa.string()),
        mode=pa.array([one.mode for one in found], pa.string()),
        width=pa.array([one.width for one in found], pa.int32()),
        height=pa.array([one.height for one in found], pa.int32()),
        **{
            GRAY: _pixels([one.gray for one in found]),
            REDUCTION: pa.array([one.reduction for one in found], pa.int8()),
        },
    )


def crop(table: pa.Table, settings: Crop) -> pa.Table:
    """Find the one face and cut it out: the image's pixels make way for the crop's."""
    finder = face_finder(settings)
    outcome = _Outcome(table, Stage.CROP)
    size = table.num_rows
    cascades: list[str | None] = [None] * size
    boxes: list[tuple[int, ...] | None] = [None] * size
    faces: list[dict[str, int | None] | None] = [None] * size
    crops: list[NDArray[np.uint8] | None] = [None] * size
    for row in outcome.rows_ok():
        gray = _image(table, row)
        found = finder(gray)
        faces[row] = {name: found.faces.get(name) for name in CASCADES}
        if found.box_xywh is None:
            outcome.settle(row, found.status, _tell(found.faces))
        else:
            cascades[row] = found.cascade
            boxes[row] = _in_whole_image(table, row, found.box_xywh)
            crops[row] = cut(gray, found.box_xywh, settings.size_px)
    return _with_columns(
        table.drop_columns([GRAY, REDUCTION]),
        **outcome.columns(),
        cascade=pa.array(cascades, pa.string()),
        box_xywh=pa.array(boxes, vector(4, pa.int32())),
        cascade_faces=pa.array(faces, pa.struct([(name, pa.int16()) for name in CASCADES])),
        **{CROP: _pixels(crops)},
    )


def crop_faces(table: pa.Table, settings: Crop, most: int | None) -> pa.Table:
    """Find the faces of one image, whose table has one row, and cut them out: a row for each.

    Unlike `crop` it takes the faces of the first cascade that finds any, the largest first, and at
    most so many of them. Where there is none the row stays, as no_face.
    """
    finder = face_finder(settings)
    if not list(_Outcome(table, Stage.CROP).rows_ok()):
        return crop(table, settings)
    gray = _image(table, 0)
    cascade, boxes, counts = finder.every(gray)
    if not boxes:
        return crop(table, settings)
    boxes = boxes[:most]
    crops = [cut(gray, box, settings.size_px) for box in boxes]
    boxes = [_in_whole_image(table, 0, box) for box in boxes]
    table = table.drop_columns([GRAY, REDUCTION]).take([0] * len(boxes))
    every = {name: counts.get(name) for name in CASCADES}
    return _with_columns(
        table,
        stage=pa.array([Stage.CROP.value] * len(boxes), pa.string()),
        cascade=pa.array([cascade] * len(boxes), pa.string()),
        box_xywh=pa.array(boxes, vector(4, pa.int32())),
        cascade_faces=pa.array(
            [every] * len(boxes), pa.struct([(n, pa.int16()) for n in CASCADES])
        ),
        **{CROP: _pixels(list(crops))},
    )


def landmarks(table: pa.Table, settings: Landmarks, size_px: int) -> pa.Table:
    """Locate the 68 landmarks in each crop."""
    locator = landmark_locator(settings)
    outcome = _Outcome(table, Stage.LANDMARKS)
    counts: list[int | None] = [None] * table.num_rows
    points: list[NDArray[np.float32] | None] = [None] * table.num_rows
    for row in outcome.rows_ok():
        counts[row], located = locator(_crop(table, row, size_px))
        if located is None:
            outcome.settle(row, Status.NO_LANDMARKS, "dlib finds no face in the crop")
        else:
            points[row] = located.ravel()
            if not counts[row]:
                outcome.settle(row, Status.OK_BY_BOX, "dlib finds no face; the crop stood in")
    return _with_columns(
        table,
        **outcome.columns(),
        landmark_faces=pa.array(counts, pa.int16()),
        landmarks_xy=_vectors(points, 2 * N_LANDMARKS),
    )


def features(table: pa.Table, sets: tuple[str, ...], size_px: int) -> pa.Table:
    """Compute the named feature sets from landmarks and crops; the crops are dropped."""
    outcome = _Outcome(table, Stage.FEATURES)
    rows = list(outcome.rows_ok())
    flat = [table["landmarks_xy"][row].as_py() for row in rows]
    points = np.array(flat, dtype=np.float64).reshape(-1, N_LANDMARKS, 2)
    crops = [_crop(table, row, size_px) for row in rows]
    columns = {}
    for name in sets:
        chosen = FEATURE_SETS[name]
        values = chosen.compute(points, crops)
        vectors: list[NDArray[np.float32] | None] = [None] * table.num_rows
        for row, value in zip(rows, values.astype(np.float32), strict=True):
            vectors[row] = value
        columns[feature_column(name)] = _vectors(vectors, chosen.width)
    return _with_columns(table.drop_columns([CROP]), **outcome.columns(), **columns)


class _Outcome:
    """Status, stage and error of each row, as one step leaves them."""

    def __init__(self, table: pa.Table, stage: Stage) -> None:
        self._stage = stage
        self._columns = {name: table[name].to_pylist() for name in ("status", "stage", "error")}

    def rows_ok(self) -> Iterator[int]:
        """Rows that are still in work; each is marked as having reached this stage."""
        for row, status in enumerate(list(self._columns["status"])):
            if status in DESCRIBED:
                self._columns["stage"][row] = self._stage.value
                yield row

    def settle(self, row: int, status: Status, error: str) -> None:
        self._columns["status"][row] = status.value
        self._columns["error"][row] = error

    def columns(self) -> dict[str, pa.Array]:
        return {name: pa.array(values, pa.string()) for name, values in self._columns.items()}


def _tell(faces: dict[str, int]) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in faces.items())
    return f"no cascade finds exactly one face (found: {counts})"


def _image(table: pa.Table, row: int) -> NDArray[np.uint8]:
    by = table[REDUCTION][row].as_py()
    shape = [-(-table[side][row].as_py() // by) for side in ("height", "width")]
    return np.frombuffer(table[GRAY][row].as_buffer(), np.uint8).reshape(shape)


def _in_whole_image(table: pa.Table, row: int, box_xywh: Box) -> Box:
    """A box found in the image as it was decoded; what a reduced one ends beyond is cut off."""
    by, width, height = (table[name][row].as_py() for name in (REDUCTION, "width", "height"))
    x, y, w, h = (by * side for side in box_xywh)
    return x, y, min(w, width - x), min(h, height - y)


def _crop(table: pa.Table, row: int, size_px: int) -> NDArray[np.uint8]:
    return np.frombuffer(table[CROP][row].as_buffer(), np.uint8).reshape(size_px, size_px)


def pixels(column: pa.ChunkedArray, size_px: int) -> NDArray[np.uint8]:
    """Crops (n, size, size) uint8 from a column of their bytes."""
    return np.stack(
        [np.frombuffer(cell.as_buffer(), np.uint8).reshape(size_px, size_px) for cell in column]
    )


def _pixels(images: list[NDArray[np.uint8] | None]) -> pa.Array:
    return pa.array(
        [None if image is None else image.tobytes() for image in images], pa.large_binary()
    )


def _vectors(values: list[NDArray[np.float32] | None], width: int) -> pa.Array:
    """A fixed-size list column; null where a row has no vector."""
    filled = [np.zeros(width, np.float32) if value is None else value for value in values]
    flat = pa.array(np.concatenate(filled) if filled else np.zeros(0, np.float32), pa.float32())
    absent = pa.array([value is None for value in values], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(flat, width, mask=absent)


def _with_columns(table: pa.Table, **columns: Any) -> pa.Table:
    """`table` with columns set: replaced where they exist, else appended."""
    for name, values in columns.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, values)
        else:
            table = table.append_column(name, values)
    return table
