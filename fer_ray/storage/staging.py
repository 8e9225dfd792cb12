"""TODO."""

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
from fer_ray.storage.parquet import _METADATA, read_table, write_table

ROWS_PER_FILE = 65_536  # of a finished table: about 250 MB with all feature sets


ROWS_PER_GROUP = 4_096


class StagedRows:
    """Finished blocks of a table that is still being made, one file each.

    A block's file is named after the positions that it covers in the listing, so what is left to do
    is known from the names alone, whatever the block size was.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, table: pa.Table, start: int) -> None:
        """Keep the rows of positions `start …` of the listing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_table(table, self.folder / f"{start:010d}-{start + table.num_rows:010d}.parquet")

    def write_at(self, table: pa.Table, positions: NDArray[np.int64]) -> None:
        """Keep rows of these positions: each run of neighbours is a file of its own."""
        breaks = np.flatnonzero(np.diff(positions) != 1) + 1
        for start, stop in pairwise([0, *breaks.tolist(), table.num_rows]):
            self.write(table.slice(start, stop - start), int(positions[start]))

    def spans(self) -> list[tuple[int, int, Path]]:
        """First position, position after the last, and file of each block, in order."""
        files = sorted(self.folder.glob("[0-9]*.parquet"))
        return [(*(int(part) for part in file.stem.split("-")), file) for file in files]  # type: ignore[misc]

    def missing(self, total: int) -> Iterator[tuple[int, int]]:
        """Spans of positions below `total` that no block covers."""
        position = 0
        for start, stop, _ in self.spans():
            if start > position:
                yield position, start
            position = max(position, stop)
        if position < total:
            yield position, total

    def assemble(self, final: Path, schema: pa.Schema, rows_per_file: int = ROWS_PER_FILE) -> None:
        """Join all blocks, in order, into a few files in the folder `final`.

        One row group is held at a time; pyarrow's `write_dataset` would hold ever more of them.
        """
        new = final.with_name(f".{final.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        schema = schema.with_metadata(_METADATA)
        group_rows = min(ROWS_PER_GROUP, rows_per_file)
        with ExitStack() as opened:
            for number, group in enumerate(self._groups(schema, group_rows)):
                part, within = divmod(number, rows_per_file // group_rows)
                if within == 0:
                    opened.close()
                    name = new / f"part-{part:05d}.parquet"
                    file = opened.enter_context(pq.ParquetWriter(name, schema, compression="zstd"))
                file.write_table(group)
        for written in new.iterdir():
            sync_to_disk(written)
        replace_folder(new, final)

    def _groups(self, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
        """All rows in order, so many at a time; of none an empty table."""
        held = schema.empty_table()
        for table in self._rows(schema):
            held = pa.concat_tables([held, table])
            while held.num_rows > rows:
                yield held.slice(0, rows)
                held = held.slice(rows)
        yield held

    def _rows(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """All rows in order, each position once.

        Blocks overlap where workers of a killed job wrote on while the next one, with blocks of
        another size, was under way; both made the same rows.
        """
        position = 0
        for start, stop, file in self.spans():
            yield read_table(file, schema=schema).slice(max(0, position - start))
            position = max(position, stop)

    def remove(self) -> None:
        """Drop all blocks, and those of other settings beside them.

        What a worker of a killed job still writes meanwhile may stay; nothing reads it.
        """
        shutil.rmtree(self.folder.parent, ignore_errors=True)
