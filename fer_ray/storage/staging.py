"""Staging of a table: finished blocks, stored one by one until they are merged into the table."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.storage.files import remove, require_visible
from fer_ray.storage.parquet import (
    SUFFIX,
    TABLE_METADATA,
    count_rows,
    parquet_writer,
    read_table,
    row_groups,
    write_table,
)

ROWS_PER_FILE = 65_536  # of a finished table: about 250 MB with all feature sets
POSITION = "position"  # column of a staged row: position of its image in the listing
Span = tuple[int, int, Path]  # first position, position after the last, file


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
            file = self.folder / f"{start:010d}-{stop:010d}{SUFFIX}"
            write_table(table.slice(first, last - first), file)

    def spans(self) -> list[Span]:
        """List the blocks in order: first position, position after the last, and file."""
        files = sorted(self.folder.glob(f"[0-9]*{SUFFIX}"))
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

    def require_all(self, total: int) -> None:
        """Require that blocks cover all positions below `total`.

        Raises:
            UserError: Some positions are missing, or not visible.
        """
        missing = sum(stop - start for start, stop in self.missing(total))
        require_visible(missing, total, "images", self.folder)

    def merges(self, final: Path, schema: pa.Schema, positions_per_file: int) -> list["Merge"]:
        """Divide the table into its final files, each written by a separate task.

        Blocks are small, since they are the unit of retrying; files of a finished table are not.
        The names contain a digest of the staging folder, so files of another extraction are never
        overwritten.
        """
        spans = self.spans()
        total = max((stop for _, stop, _ in spans), default=0)
        digest = hashlib.sha256(self.folder.name.encode()).hexdigest()[:8]
        merges = []
        for number, start in enumerate(range(0, max(total, 1), positions_per_file)):
            stop = start + positions_per_file
            covering = [span for span in spans if span[0] < stop and span[1] > start]
            file = final / f"part-{number:05d}-{digest}{SUFFIX}"
            merges.append(Merge(file, start, stop, covering, schema))
        return merges

    def assemble(
        self,
        final: Path,
        schema: pa.Schema,
        positions_per_file: int = ROWS_PER_FILE,
        run: Callable[[list["Merge"]], None] | None = None,
    ) -> dict[str, int]:
        """Merge all blocks, in order, into a few files in the folder `final`.

        Files of an earlier table stay until `remove_superseded`.

        Args:
            final: Folder of the finished table.
            schema: Its columns.
            positions_per_file: Positions in each file but the last.
            run: Writes the files of a table that has several. None: one after the other.

        Returns:
            The number of rows of each file by its name, as `parquet.is_complete` needs them.
        """
        final.mkdir(parents=True, exist_ok=True)
        merges = self.merges(final, schema, positions_per_file)
        if run is not None and len(merges) > 1:
            run(merges)
        else:
            for merge in merges:
                merge.write()
        return {merge.file.name: count_rows(merge.file) for merge in merges}

    def remove(self) -> None:
        """Remove all blocks, and those of other settings next to them.

        Files that a worker of a killed job writes at the same time may remain; nothing reads them.
        """
        remove(self.folder.parent)


def remove_superseded(folder: Path, files: Collection[str]) -> None:
    """Remove everything from the folder of a table except its own files."""
    for path in folder.iterdir():
        if path.name not in files:
            remove(path)


@dataclass(frozen=True)
class Merge:
    """One final file of a table, and the blocks that it consists of.

    Attributes:
        file: The file.
        start: Its first position.
        stop: The position after its last one.
        spans: The blocks, in order. They may overlap: workers of a killed job can still write while
            the next job, with another block size, is running. Both write the same rows.
        schema: Columns of the table.
    """

    file: Path
    start: int
    stop: int
    spans: list[Span]
    schema: pa.Schema

    def write(self) -> None:
        """Write the file; one row group is in memory at a time."""
        schema = self.schema.with_metadata(TABLE_METADATA)
        with parquet_writer(self.file, schema) as writer:
            for group in row_groups(self._rows(schema), schema):
                writer.write_table(group)

    def _rows(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield the rows in order, those of each position once."""
        schema = schema.append(pa.field(POSITION, pa.int64()))
        position = self.start
        for _, stop, file in self.spans:
            table = read_table(file, schema=schema)
            first, last = np.searchsorted(table[POSITION].to_numpy(), (position, self.stop))
            yield table.slice(first, max(0, last - first)).drop_columns([POSITION])
            position = max(position, stop)
