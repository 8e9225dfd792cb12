"""Reading Parquet files that may be a stranger's: no file runs code by being read.

Ray registers an Arrow type whose values are unpickled when they are turned into Python objects.
Nothing of ours has such a column, so a table that has one goes no further than its schema.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_ray.errors import UserError
from fer_ray.storage.files import publish_file, temporary_path
from fer_ray.vocabulary import SCHEMA_VERSION


def read_table(source: Path | BytesIO, **how: Any) -> pa.Table:
    """`pyarrow.parquet.read_table`, of plain types alone.

    Raises:
        UserError: A column that is read has a type that is not Arrow's own.
    """
    table = pq.read_table(source, **how)
    require_plain(table.schema, str(source) if isinstance(source, Path) else "A table")
    return table


def require_plain(schema: pa.Schema, source: str) -> None:
    """See that all columns have types of Arrow's own, before any value is looked at.

    Raises:
        UserError: One has not.
    """
    foreign = [field.name for field in schema if _is_foreign(field.type)]
    if foreign:
        raise UserError(
            f"{source} has columns ({foreign[0]}) of a type that fer_ray never writes and that may "
            "run code when it is read: it is not read."
        )


def _is_foreign(data_type: pa.DataType) -> bool:
    if isinstance(data_type, pa.BaseExtensionType):
        return True
    return any(_is_foreign(data_type.field(i).type) for i in range(data_type.num_fields))


_METADATA = {"fer_ray.schema_version": str(SCHEMA_VERSION)}


def write_table(table: pa.Table, file: Path) -> None:
    """Write one Parquet file under its final name only once it is complete."""
    temporary = temporary_path(file)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **_METADATA})
    pq.write_table(table, temporary, compression="zstd")
    publish_file(temporary, file)


def rows_in(folder: Path) -> int | None:
    """Rows of a table's files by their footers; None if one of them is damaged."""
    try:
        return sum(int(pq.read_metadata(file).num_rows) for file in folder.glob("*.parquet"))
    except (OSError, pa.ArrowException):
        return None
