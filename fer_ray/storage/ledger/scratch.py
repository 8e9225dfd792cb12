"""A scratch database (DuckDB) for a sweep's tables.

It joins tables larger than its share of memory by way of the disk: the driver's memory stays flat,
however many images there are.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from fer_ray.storage.ledger import queries

MEMORY = "384MB"
AT_ONCE = 8_192  # rows held outside the database


class Scratch:
    """The database.

    Args:
        folder: For its file and what does not fit into memory.
    """

    def __init__(self, folder: Path) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY, "temp_directory": str(folder), "threads": "2",
        }  # fmt: skip
        self._db = duckdb.connect(str(folder / "ledger.duckdb"), config=settings)

    def run(self, query: str, values: Iterable[Any] = ()) -> None:
        """Do what gives no rows."""
        self._db.execute(queries.filled(query), list(values))

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self._db.execute(queries.filled(query), list(values)).fetchall()

    def one(self, query: str) -> Any:
        """The value of a query that gives one."""
        return self.rows(query)[0][0]

    def arrow(self, query: str) -> pa.Table:
        """All rows of a query, as a table."""
        return self._db.sql(queries.filled(query)).to_arrow_table()

    def reader(self, query: str, most: int) -> pa.RecordBatchReader:
        """The rows of a query as a stream of so many at once; others may be run meanwhile."""
        return self._db.cursor().sql(query).to_arrow_reader(most)

    def blocks(self, query: str, block: int) -> Iterator[pa.Table]:
        """The rows of a query in tables of so many."""
        for batch in self.reader(query, max(AT_ONCE, block)):
            table = pa.table(batch)
            for start in range(0, table.num_rows, block):
                yield table.slice(start, block)

    def insert(self, name: str, rows: pa.Table, where: str = "true") -> None:
        """Add rows to a table: the columns that it has, of those for which `where` is true."""
        self._db.register("incoming", rows)
        columns = {row[0]: None for row in self.rows(f"DESCRIBE {name}")}
        chosen = ", ".join(column for column in rows.column_names if column in columns)
        self.run(f"INSERT INTO {name} ({chosen}) SELECT {chosen} FROM incoming WHERE {where}")
        self._db.unregister("incoming")

    def close(self) -> None:
        """Leave it."""
        self._db.close()
