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
    foreign = [field.name for field in table.schema if _is_foreign(field.type)]
    if foreign:
        raise UserError(
            f"{source if isinstance(source, Path) else 'A table'} has columns ({foreign[0]}) of a "
            "type that fer_ray never writes and that may run code when it is read: it is not read."
        )
    return table


def _is_foreign(data_type: pa.DataType) -> bool:
    if isinstance(data_type, pa.BaseExtensionType):
        return True
    return any(_is_foreign(data_type.field(i).type) for i in range(data_type.num_fields))
