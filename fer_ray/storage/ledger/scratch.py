"""A scratch database (DuckDB) for the tables of a sweep.

DuckDB spills to disk what exceeds its memory limit, so the driver's memory does not grow with the
number of images.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from fer_ray.storage.ledger.queries import with_statuses

MEMORY = "384MB"
BATCH_ROWS = 8_192  # rows that are in memory outside the database


class Scratch:
    """The database.

    Args:
        folder: For its file, and for what does not fit into memory.
    """

    def __init__(self, folder: Path) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY, "temp_directory": str(folder), "threads": "2",
        }  # fmt: skip
        self._db = duckdb.connect(str(folder / "ledger.duckdb"), config=config)

    def run(self, query: str, values: Iterable[Any] = ()) -> None:
        """Run statements that return no rows."""
        self._db.execute(with_statuses(query), list(values))

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as tuples."""
        return self._db.execute(with_statuses(query), list(values)).fetchall()

    def scalar(self, query: str) -> Any:
        """The value of a query with one row and one column."""
        return self.rows(query)[0][0]

    def arrow(self, query: str) -> pa.Table:
        """All rows of a query, as a table."""
        return self._db.sql(with_statuses(query)).to_arrow_table()

    def reader(self, query: str, batch_rows: int) -> pa.RecordBatchReader:
        """Stream the rows of a query in batches; other queries may run at the same time."""
        return self._db.cursor().sql(query).to_arrow_reader(batch_rows)

    def blocks(self, query: str, size: int) -> Iterator[pa.Table]:
        """Yield the rows of a query in tables of `size` rows."""
        for batch in self.reader(query, max(BATCH_ROWS, size)):
            table = pa.table(batch)
            for start in range(0, table.num_rows, size):
                yield table.slice(start, size)

    def insert(self, name: str, rows: pa.Table, where: str = "true") -> None:
        """Insert rows into a table.

        Args:
            name: Name of the table.
            rows: The rows; columns that the table does not have are ignored.
            where: SQL condition on the rows to insert.
        """
        self._db.register("incoming", rows)
        columns = {row[0] for row in self.rows(f"DESCRIBE {name}")}
        shared = ", ".join(column for column in rows.column_names if column in columns)
        self.run(f"INSERT INTO {name} ({shared}) SELECT {shared} FROM incoming WHERE {where}")
        self._db.unregister("incoming")

    def close(self) -> None:
        """Close the database."""
        self._db.close()
