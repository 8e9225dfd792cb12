"""Columns of batches: NumPy arrays, pandas or Arrow tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from fer_ray.errors import UserError, did_you_mean
from fer_ray.features.steps import IMAGE

if TYPE_CHECKING:
    import pandas as pd

Batch: TypeAlias = "Mapping[str, Any] | pd.DataFrame | pa.Table"
IMAGE_COLUMNS = ("image", "bytes", "path")  # of images in a batch, in order of preference


def as_images(column: Any) -> list[Any]:
    """Convert a column of a batch (NumPy, pandas, Arrow or a list) to a list of images."""
    is_arrow = isinstance(column, pa.ChunkedArray | pa.Array)
    return list(column.to_pylist() if is_arrow else column)


def to_column(values: Any) -> pa.Array | pa.ChunkedArray:
    """Convert a column of a batch to Arrow; the dimensions of an array after the first are joined.

    Args:
        values: A NumPy array, pandas series, Arrow array or list.
    """
    if isinstance(values, pa.ChunkedArray | pa.Array):
        return values
    array = np.asarray(values)
    if array.ndim > 1:
        width = int(np.prod(array.shape[1:]))
        return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), width)
    if array.dtype != object:
        return pa.array(array)
    return pa.array([str(one) if isinstance(one, Path) else one for one in array], from_pandas=True)


def find_image_column(batch: Batch, column: str | None) -> str:
    """Find the column of the images of a batch.

    Args:
        batch: A batch.
        column: Its name. None: the first of `IMAGE_COLUMNS` in the batch.

    Raises:
        UserError: The batch has no such column.
    """
    names = batch.column_names if isinstance(batch, pa.Table) else [*batch.keys()]
    found = [name for name in ((column,) if column else IMAGE_COLUMNS) if name in names]
    if not found:
        wanted = column or " or ".join(IMAGE_COLUMNS)
        known = [str(name) for name in names]
        advice = (
            f"{did_you_mean(column, known)} Correct column=."
            if column
            else " Name the column of the images with column=."
        )
        raise UserError(
            f"The batch has no column {wanted}, only {', '.join(known) or 'none'}.{advice}"
        )
    return found[0]


def join_columns(batch: Batch, column: str, rows: pa.Table) -> pa.Table:
    """Put the other columns of a batch before those of its rows; pixels are dropped.

    Args:
        batch: The batch.
        column: Column of its images.
        rows: From `process_given_images`.
    """
    names = batch.column_names if isinstance(batch, pa.Table) else [*batch.keys()]
    dropped = {*rows.column_names, *(() if _has_paths(batch[column]) else (column,))}
    number = rows[IMAGE].combine_chunks()
    columns = {name: to_column(batch[name]).take(number) for name in names if name not in dropped}
    columns |= {name: rows[name] for name in rows.column_names if name != IMAGE}
    return pa.table(columns)


def _has_paths(column: Any) -> bool:
    return all(isinstance(image, str | Path) for image in as_images(column[:1]))
