"""Scratch files of a sweep: rows sorted by hash, so that one partition of them can be read."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import dataset

from fer_ray.storage.planning.partitions import Partition
from fer_ray.storage.table_folder import TableFolder, unique_name

HASH = "hash"
ROW_GROUP = 8_192


def write_sorted(
    folder: TableFolder, kind: str, rows: pa.Table, hashes: NDArray[np.uint32]
) -> list[str]:
    """Write rows, sorted by their hashes, to one file.

    Args:
        folder: Scratch folder.
        kind: Beginning of the file's name.
        rows: The rows.
        hashes: The hash of each row.

    Returns:
        The name of the file; empty if there are no rows.
    """
    if not rows.num_rows:
        return []
    order = np.argsort(hashes, kind="stable")
    rows = rows.take(pa.array(order)).append_column(HASH, pa.array(hashes[order], pa.uint32()))
    return [folder.write(rows, unique_name(kind), row_group=ROW_GROUP).name]


def read_partition(
    folder: TableFolder, names: list[str], partition: Partition, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a partition from files of `write_sorted`.

    Args:
        folder: Scratch folder.
        names: Names of the files.
        partition: Whose rows to read.
        columns: Columns to read; None: all.
    """
    hashes = dataset.field(HASH)
    within = (hashes >= partition.start) & (hashes < partition.stop)
    yield from folder.batches(names, columns, None if partition.level == 0 else within)
