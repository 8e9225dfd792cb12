"""Staging of a table: finished blocks, stored one by one until the table is assembled."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_ray.storage.files import replace_folder, sync_to_disk
from fer_ray.storage.parquet import TABLE_METADATA, read_table, write_table

ROWS_PER_FILE = 65_536  # of a finished table: about 250 MB with all feature sets
ROWS_PER_GROUP = 4_096
POSITION = "position"  # column of a staged row: position of its image in the listing


class StagedRows:
    """Finished blocks of an unfinished table, one file each.

    The name of a file gives the positions in the listing that its block covers. The remaining work
    therefore follows from the names alone, for any block size. A position may have several rows, so
    each row also contains its `POSITION`; a finished table does not.

    Args:
        folder: Where the blocks are stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_at(self, table: pa.Table, positions: NDArray[np.int64]) -> None:
        """Store rows, in one file for each contiguous range of positions.

        Args:
            table: Rows; of each position all of them.
            positions: Their positions in the listing; equal ones are adjacent.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        table = table.append_column(POSITION, pa.array(positions, pa.int64()))
        breaks = np.flatnonzero(~np.isin(np.diff(positions), (0, 1))) + 1
        for first, last in pairwise([0, *breaks.tolist(), table.num_rows]):
            start, stop = positions[first], positions[last - 1] + 1
            file = self.folder / f"{start:010d}-{stop:010d}.parquet"
            write_table(table.slice(first, last - first), file)

    def spans(self) -> list[tuple[int, int, Path]]:
        """List the blocks in order: first position, position after the last, and file."""
        files = sorted(self.folder.glob("[0-9]*.parquet"))
        return [(*(int(part) for part in file.stem.split("-")), file) for file in files]  # type: ignore[misc]

    def missing(self, total: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of positions below `total` that no block covers."""
        position = 0
        for start, stop, _ in self.spans():
            if start > position:
                yield position, start
            position = max(position, stop)
        if position < total:
            yield position, total

    def missing_positions(self, total: int) -> NDArray[np.int64]:
        """All positions below `total` that no block covers."""
        spans = [np.arange(start, stop) for start, stop in self.missing(total)]
        return np.concatenate(spans) if spans else np.arange(0)

    def assemble(self, final: Path, schema: pa.Schema, rows_per_file: int = ROWS_PER_FILE) -> None:
        """Join all blocks, in order, into a few files in the folder `final`.

        Only one row group is in memory at a time; `pyarrow.dataset.write_dataset` would accumulate
        them.
        """
        new = final.with_name(f".{final.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        schema = schema.with_metadata(TABLE_METADATA)
        group_rows = min(ROWS_PER_GROUP, rows_per_file)
        with ExitStack() as stack:
            for number, group in enumerate(self._groups(schema, group_rows)):
                part, group_in_file = divmod(number, rows_per_file // group_rows)
                if group_in_file == 0:
                    stack.close()
                    file = new / f"part-{part:05d}.parquet"
                    writer = stack.enter_context(pq.ParquetWriter(file, schema, compression="zstd"))
                writer.write_table(group)
        for file in new.iterdir():
            sync_to_disk(file)
        replace_folder(new, final)

    def _groups(self, schema: pa.Schema, size: int) -> Iterator[pa.Table]:
        """Yield all rows in order, in tables of `size` rows; one empty table if there are none."""
        buffer = schema.empty_table()
        for table in self._rows(schema):
            buffer = pa.concat_tables([buffer, table])
            while buffer.num_rows > size:
                yield buffer.slice(0, size)
                buffer = buffer.slice(size)
        yield buffer

    def _rows(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield all rows in order, those of each position once.

        Blocks may overlap: workers of a killed job can still write while the next job, with another
        block size, is running. Both write the same rows.
        """
        schema = schema.append(pa.field(POSITION, pa.int64()))
        position = 0
        for _, stop, file in self.spans():
            table = read_table(file, schema=schema)
            repeated = np.searchsorted(table[POSITION].to_numpy(), position)
            yield table.slice(repeated).drop_columns([POSITION])
            position = max(position, stop)

    def remove(self) -> None:
        """Remove all blocks, and those of other settings next to them.

        Files that a worker of a killed job writes at the same time may remain; nothing reads them.
        """
        shutil.rmtree(self.folder.parent, ignore_errors=True)
