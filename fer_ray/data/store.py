"""The files of a run folder: written whole or not at all, so that a reader never meets a half."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_ray.contracts import SCHEMA_VERSION
from fer_ray.data.tables import read_table

ROWS_PER_FILE = 65_536  # of a finished table: about 250 MB with all feature sets
ROWS_PER_GROUP = 4_096
_METADATA = {"fer_ray.schema_version": str(SCHEMA_VERSION)}


def write_table(table: pa.Table, file: Path) -> None:
    """Write one Parquet file under its final name only once it is complete."""
    temporary = _temporary(file)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **_METADATA})
    pq.write_table(table, temporary, compression="zstd")
    _publish(temporary, file)


def write_json(record: dict[str, Any], file: Path) -> None:
    """Write one JSON file under its final name only once it is complete."""
    temporary = _temporary(file)
    temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _publish(temporary, file)


def _publish(temporary: Path, file: Path) -> None:
    """Give a complete file its name once it is on the disk: no loss of power leaves a half."""
    _sync(temporary)
    temporary.replace(file)


def _sync(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def read_json(file: Path) -> dict[str, Any] | None:
    """The record in `file`, or None if there is none that can be read."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _temporary(file: Path) -> Path:
    """A name beside `file` that no reader of `*.parquet` or `*.json` takes up."""
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


def replace_folder(new: Path, final: Path) -> None:
    """Put the folder `new` in the place of `final`."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def rows_in(folder: Path) -> int | None:
    """Rows of a table's files by their footers; None if one of them is damaged."""
    try:
        return sum(int(pq.read_metadata(file).num_rows) for file in folder.glob("*.parquet"))
    except (OSError, pa.ArrowException):
        return None


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
            _sync(written)
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


def table_digest(table: pa.Table, stats: list[tuple[int, int]]) -> str:
    """Hex SHA-256 over a listing and its files' sizes and times: changes when either does.

    Args:
        table: The listing.
        stats: Size in bytes and modification time in nanoseconds of each row's file.
    """
    digest = hashlib.sha256()
    for column in table.columns:
        digest.update(repr(column.to_pylist()).encode())
    digest.update(repr(stats).encode())
    return digest.hexdigest()


def file_stats(root: Path, paths: list[str]) -> list[tuple[int, int]]:
    """Size in bytes and modification time in nanoseconds of each file; (-1, -1) if it is gone."""
    return [_stat(root / path) for path in paths]


def _stat(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except (OSError, ValueError):  # ValueError: a path with a null character
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
