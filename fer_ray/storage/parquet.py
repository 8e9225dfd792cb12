"""Parquet tables: written atomically, and read without running code from them.

Ray registers an Arrow type whose values are unpickled when they become Python objects, so reading a
file from an untrusted source could run code. fer_ray never writes such columns, and rejects a table
that has one by its schema.
"""

import errno
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_ray.errors import UserError
from fer_ray.storage.files import written_atomically
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.vocabulary import SCHEMA_VERSION

SUFFIX = ".parquet"
ROW_GROUP = 4_096  # rows
READ_AT_ONCE = 8_388_608  # bytes; of a larger object, only the necessary ranges are requested
TABLE_METADATA = {"fer_ray.schema_version": str(SCHEMA_VERSION)}


def read_table(source: Path | Sequence[Path] | BytesIO, **options: Any) -> pa.Table:
    """Read a table whose columns have Arrow's own types.

    Args:
        source: A Parquet file, several, or a folder of them.
        options: Of `pyarrow.parquet.read_table`, such as `columns`.

    Returns:
        The rows, in the order of the files; those of a folder are sorted by name.

    Raises:
        FileNotFoundError: A file does not exist, or the folder contains none.
        UserError: A column has an extension type.
    """
    if isinstance(source, BytesIO):
        return _read_plain(source, "A table", options)
    files = table_files(source)
    if not files:
        raise FileNotFoundError(errno.ENOENT, "No table", str(source))
    return pa.concat_tables(_read_file(file, options) for file in files)


def table_files(source: Path | Sequence[Path]) -> list[Path]:
    """The Parquet files of a folder, sorted by name, or the given ones."""
    if not isinstance(source, Path):
        return [*source]
    return [source] if source.suffix == SUFFIX else sorted(source.glob(f"*{SUFFIX}"))


def read_schema(file: Path) -> pa.Schema:
    """Read the schema of a Parquet file, with its metadata."""
    with file.open("rb") as content:
        return pq.read_schema(content)


def read_batches(file: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Read columns of a Parquet file, one row group at a time."""
    with file.open("rb") as content:
        yield from pq.ParquetFile(content).iter_batches(columns=columns)


def _read_file(file: Path, options: dict[str, Any]) -> pa.Table:
    if not isinstance(file, ObjectPath):
        return _read_plain(file, str(file), options)
    _, content = file.read_up_to(READ_AT_ONCE)
    if content is not None:
        return _read_plain(BytesIO(content), str(file), options)
    with file.open("rb") as ranges:
        return _read_plain(ranges, str(file), options)


def _read_plain(source: Any, name: str, options: dict[str, Any]) -> pa.Table:
    table = pq.read_table(source, **options)
    require_plain(table.schema, name)
    return table


def require_plain(schema: pa.Schema, source: str) -> None:
    """Check that all columns have Arrow's own types, before any value is read.

    Raises:
        UserError: A column has an extension type.
    """
    foreign = [field.name for field in schema if _is_foreign(field.type)]
    if foreign:
        raise UserError(
            f"{source} was not read: its column {foreign[0]} has a type that fer_ray never writes "
            "and that may run code when it is read. Use a table that fer_ray wrote."
        )


def _is_foreign(data_type: pa.DataType) -> bool:
    if isinstance(data_type, pa.BaseExtensionType):
        return True
    return any(_is_foreign(data_type.field(i).type) for i in range(data_type.num_fields))


def write_table(table: pa.Table, file: Path) -> None:
    """Write a Parquet file atomically, with the schema version in its metadata."""
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **TABLE_METADATA})
    with parquet_writer(file, table.schema) as writer:
        writer.write_table(table)


def row_groups(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Divide rows, in order, into tables of `ROW_GROUP`; one empty table if there are none."""
    buffer = schema.empty_table()
    for table in tables:
        buffer = pa.concat_tables([buffer, table])
        while buffer.num_rows > ROW_GROUP:
            yield buffer.slice(0, ROW_GROUP)
            buffer = buffer.slice(ROW_GROUP)
    yield buffer


@contextmanager
def parquet_writer(file: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file in row groups; it appears at the end of the block.

    An object is written from memory, since object stores have no partial files.
    """
    if isinstance(file, ObjectPath):
        buffer = pa.BufferOutputStream()
        with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
            yield writer
        file.write_bytes(buffer.getvalue())
        return
    with (
        written_atomically(file) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        yield writer


def count_values(column: pa.ChunkedArray) -> Counter[str]:
    """How often each value occurs in a column of strings; null is not counted."""
    pairs = column.drop_null().value_counts().to_pylist()
    return Counter({pair["values"]: pair["counts"] for pair in pairs})


def is_complete(folder: Path, record: dict[str, Any]) -> bool:
    """Whether a table has all files that its record names, with all their rows.

    Args:
        folder: Folder of the table.
        record: Record of a job that wrote it: `files` has the rows of each file by its name.
    """
    files: dict[str, int] = record.get("files", {})
    return bool(files) and files.items() <= rows_by_file(folder).items()


def rows_by_file(folder: Path) -> dict[str, int | None]:
    """The number of rows of each file of a table, by its name; None for a damaged file."""
    return {file.name: count_rows_if_readable(file) for file in table_files(folder)}


def count_rows_if_readable(file: Path) -> int | None:
    """The number of rows in a file's footer; None for a damaged file."""
    try:
        return count_rows(file)
    except (OSError, pa.ArrowException):
        return None


def count_rows(file: Path) -> int:
    """The number of rows in a file's footer."""
    with file.open("rb") as content:
        return int(pq.read_metadata(content).num_rows)
