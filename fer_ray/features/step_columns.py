"""Columns of the tables between the steps of extraction, as arrays and back."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.vocabulary import USABLE_STATUSES, Stage, Status

Floats = NDArray[np.float32]


class StepOutcome:
    """Status, stage and error of each row after a step.

    Args:
        table: The rows before the step.
        stage: The step.
    """

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
        """Set the status of a row, and the reason."""
        self._columns["status"][row] = status.value
        self._columns["error"][row] = error

    def columns(self) -> dict[str, pa.Array]:
        """The three columns."""
        return {name: pa.array(values, pa.string()) for name, values in self._columns.items()}


def read_vectors(column: pa.ChunkedArray) -> Floats:
    """The vectors (n, width) of a fixed-size list column; null vectors have arbitrary values."""
    array, width = column.combine_chunks(), column.type.list_size
    start = array.offset * width
    flat = array.values.to_numpy(zero_copy_only=False)
    return np.asarray(flat[start : start + len(array) * width].reshape(-1, width))


def to_vectors(values: list[Floats | None], width: int) -> pa.Array:
    """A fixed-size list column; null for rows without a vector."""
    filled = [np.zeros(width, np.float32) if value is None else value for value in values]
    flat = pa.array(np.concatenate(filled) if filled else np.zeros(0, np.float32), pa.float32())
    absent = pa.array([value is None for value in values], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(flat, width, mask=absent)


def to_bytes(images: list[NDArray[np.uint8] | None]) -> pa.Array:
    """A column of pixels; null for rows without an image."""
    cells = [None if image is None else image.tobytes() for image in images]
    return pa.array(cells, pa.large_binary())


def with_columns(table: pa.Table, **columns: Any) -> pa.Table:
    """The table with columns replaced if they exist, otherwise appended."""
    merged = dict(zip(table.column_names, table.columns, strict=True)) | columns
    fields = {field.name: field for field in table.schema}
    fields |= {name: pa.field(name, values.type) for name, values in columns.items()}
    return pa.table(list(merged.values()), schema=pa.schema(list(fields.values())))
