"""Parquet tables: written atomically, and read without running code from them.

Ray registers an Arrow type whose values are unpickled when they become Python objects, so reading a
file from an untrusted source could run code. fer_ray never writes such columns, and rejects a table
that has one by its schema.
"""

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_ray.errors import UserError
from fer_ray.storage.files import publish_file, temporary_path
from fer_ray.vocabulary import SCHEMA_VERSION

TABLE_METADATA = {"fer_ray.schema_version": str(SCHEMA_VERSION)}


def read_table(source: Path | BytesIO, **options: Any) -> pa.Table:
    """Read a table whose columns have Arrow's own types.

    Args:
        source: A Parquet file, or a folder of them.
        options: Of `pyarrow.parquet.read_table`, such as `columns`.

    Returns:
        The rows, in the order of the file names.

    Raises:
        UserError: A column has an extension type.
    """
    table = pq.read_table(source, **options)
    require_plain(table.schema, str(source) if isinstance(source, Path) else "A table")
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
    temporary = temporary_path(file)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **TABLE_METADATA})
    pq.write_table(table, temporary, compression="zstd")
    publish_file(temporary, file)


def count_values(column: pa.ChunkedArray) -> Counter[str]:
    """How often each value occurs in a column of strings; null is not counted."""
    pairs = column.drop_null().value_counts().to_pylist()
    return Counter({pair["values"]: pair["counts"] for pair in pairs})


def count_rows(folder: Path) -> int | None:
    """Count the rows of a table from its files' footers; None if a file is damaged."""
    try:
        return sum(int(pq.read_metadata(file).num_rows) for file in folder.glob("*.parquet"))
    except (OSError, pa.ArrowException):
        return None
