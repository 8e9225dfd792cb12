"""Parquet files in a folder of any file system, written by tasks and read by others."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import dataset, fs

from fer_ray.errors import UserError, error_text
from fer_ray.storage.objects.uris import attempts, store_lost_on_error
from fer_ray.storage.parquet import ROW_GROUP, require_plain, row_groups


@dataclass(frozen=True)
class NewFile:
    """A Parquet file that a task has written and that no commit contains yet.

    Attributes:
        name: Name in the folder of its table.
        size: Bytes.
        rows: Number of rows.
        mtime_ms: When it was written, in milliseconds since 1970.
        statistics: Statistics of Delta Lake, as JSON.
    """

    name: str
    size: int
    rows: int
    mtime_ms: int
    statistics: str


@dataclass(frozen=True)
class TableFolder:
    """A folder of Parquet files. Instances can be pickled and sent to workers.

    Attributes:
        uri: Path or URI without credentials, for messages.
        filesystem: File system.
        root: Path in the file system.
        temporary: Whether it is a temporary folder of this machine, not part of a store.

    Raises:
        StoreLostError: By any method: the folder cannot be read or written.
        UserError: Likewise, for a temporary folder.
    """

    uri: str
    filesystem: fs.FileSystem
    root: str
    temporary: bool = False

    def write(
        self, table: pa.Table, name: str, keys: tuple[str, ...] = (), row_group: int = ROW_GROUP
    ) -> NewFile:
        """Write a file.

        Args:
            table: Its rows.
            name: Its name, which no other file has: an incomplete one may remain after an error.
            keys: Columns whose statistics are part of the result.
            row_group: Rows that can be read without the others.
        """
        buffer = pa.BufferOutputStream()
        with _open_writer(buffer, table.schema) as writer:
            writer.write_table(table, row_group_size=row_group)
        return self._finish(buffer, name, keys)

    def write_batches(
        self, batches: Iterator[pa.RecordBatch], schema: pa.Schema, name: str, keys: tuple[str, ...]
    ) -> NewFile | None:
        """Write a stream of batches to a file, as `write`; None if it has no rows."""
        buffer = pa.BufferOutputStream()
        tables = (pa.Table.from_batches([batch], schema) for batch in batches)
        rows = 0
        with _open_writer(buffer, schema) as writer:
            for group in row_groups(tables, schema):
                writer.write_table(group)
                rows += group.num_rows
        return self._finish(buffer, name, keys) if rows else None

    def _finish(self, buffer: pa.BufferOutputStream, name: str, keys: tuple[str, ...]) -> NewFile:
        content = buffer.getvalue()
        metadata = pq.read_metadata(pa.BufferReader(content))
        with self._errors():
            self._write_bytes(content, f"{self.root}/{name}")
        statistics = json.dumps(_statistics(metadata, keys), ensure_ascii=False)
        return NewFile(name, content.size, metadata.num_rows, time.time_ns() // 10**6, statistics)

    def _write_bytes(self, content: pa.Buffer, file: str) -> None:
        if isinstance(self.filesystem, fs.LocalFileSystem):  # object stores need no folders
            self.filesystem.create_dir(self.root, recursive=True)
        error: OSError
        for _ in attempts():
            try:
                with self.filesystem.open_output_stream(file) as stream:
                    stream.write(content)
                return
            except OSError as problem:
                error = problem
        raise error

    def batches(
        self,
        names: list[str],
        columns: list[str] | None = None,
        rows: dataset.Expression | None = None,
        schema: pa.Schema | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows of files, one file after another.

        Args:
            names: Names of the files.
            columns: Columns to read; those that a file does not have are left out. None: all.
            rows: Which rows to read.
            schema: Schema of the batches; columns that a file does not have are null. None: that of
                each file.
        """
        with self._errors():
            for name in names:
                yield from self._batches_of(name, columns, rows, schema)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        if not self.temporary:
            with store_lost_on_error(self.uri):
                yield
            return
        try:
            yield
        except (OSError, pa.ArrowException) as problem:
            raise UserError(
                f"Cannot use the temporary folder {self.uri}: {error_text(problem)}\nSet TMPDIR to "
                "a folder on a working disk with enough space. Then rerun the command."
            ) from None

    def _batches_of(
        self,
        name: str,
        columns: list[str] | None,
        rows: dataset.Expression | None,
        schema: pa.Schema | None,
    ) -> Iterator[pa.RecordBatch]:
        opened = partial(
            dataset.dataset, f"{self.root}/{name}", format="parquet", filesystem=self.filesystem
        )
        file = opened()
        require_plain(file.schema, f"{self.uri}/{name}")
        wanted = schema or _without_views(file.schema)
        file = file if file.schema == wanted else opened(schema=wanted)
        known = columns and [column for column in columns if column in file.schema.names]
        scanner = file.scanner(columns=known, filter=rows, batch_readahead=2, fragment_readahead=1)
        yield from scanner.to_batches()

    def read_rows(self, name: str, start: int, count: int) -> pa.Table:
        """Read `count` rows of a file, from row `start`."""
        with (
            self._errors(),
            self.filesystem.open_input_file(f"{self.root}/{name}") as stream,
        ):
            file, first, groups = pq.ParquetFile(stream), 0, []
            for number in range(file.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                if first < start + count and first + rows > start:
                    groups.append((first, number))
                first += rows
            table = file.read_row_groups([number for _, number in groups])
            return table.slice(start - groups[0][0], count)

    def delete(self, names: list[str]) -> None:
        """Delete files; those that do not exist are skipped."""
        with self._errors():
            for name in names:
                with suppress(FileNotFoundError):
                    self.filesystem.delete_file(f"{self.root}/{name}")


def _open_writer(buffer: pa.BufferOutputStream, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer that looks for repeated values only in text columns, since vectors have few."""
    texts = [column.name for column in schema if pa.types.is_string(column.type)]
    return pq.ParquetWriter(buffer, schema, compression="zstd", use_dictionary=texts or False)


def _without_views(schema: pa.Schema) -> pa.Schema:
    """Replace the type that Delta Lake declares for texts, which Arrow cannot filter."""
    for index, column in enumerate(schema):
        if column.type == pa.string_view():
            schema = schema.set(index, column.with_type(pa.string()))
    return schema


def unique_name(kind: str) -> str:
    """A name for a new Parquet file that no other file has."""
    return f"{kind}-{secrets.token_hex(16)}.parquet"


def _statistics(metadata: pq.FileMetaData, keys: tuple[str, ...]) -> dict[str, Any]:
    """Number of rows, and the minimum, maximum and number of nulls of columns."""
    statistics: dict[str, Any] = {"numRecords": metadata.num_rows}
    smallest: dict[str, Any] = {}
    largest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for index, name in enumerate(metadata.schema.names):
        if name not in keys or not groups:
            continue
        columns = [group.column(index).statistics for group in groups]
        if any(column is None for column in columns):  # it has no values
            continue
        nulls[name] = sum(column.null_count for column in columns)
        if known := [column for column in columns if column.has_min_max]:
            smallest[name] = min(column.min for column in known)
            largest[name] = max(column.max for column in known)
    return statistics | {"minValues": smallest, "maxValues": largest, "nullCount": nulls}
