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
