"""A temporary DuckDB database for one partition of a sweep.

DuckDB spills to disk what exceeds its memory limit.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.storage.planning import queries

MEMORY = "384MB"
# The disk or the memory is full, and what follows from that. Errors in queries are bugs.
DATABASE_LOST = (duckdb.OperationalError, duckdb.FatalException, duckdb.InternalException)


class Database:
    """The database.

    Args:
        folder: For what does not fit into memory.
    """

    def __init__(self, folder: Path) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY, "temp_directory": str(folder), "threads": "1",
        }  # fmt: skip
        self._db = duckdb.connect(":memory:", config=config)

    def run(self, query: str, values: Iterable[Any] = ()) -> None:
        """Run statements that return no rows."""
        self._db.execute(queries.with_statuses(query), list(values))

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as tuples."""
        return self._db.execute(queries.with_statuses(query), list(values)).fetchall()

    def arrow(self, query: str) -> pa.Table:
        """All rows of a query, as a table."""
        return self._db.sql(queries.with_statuses(query)).to_arrow_table()

    def insert(self, name: str, batches: Iterable[pa.RecordBatch]) -> None:
        """Insert rows into a table.

        Args:
            name: Name of the table.
            batches: The rows; columns that the table does not have are ignored.
        """
        columns = {row[0] for row in self.rows(f"DESCRIBE {name}")}
        for batch in batches:
            self._db.register("incoming", pa.table(batch))
            shared = ", ".join(column for column in batch.schema.names if column in columns)
            self.run(f"INSERT INTO {name} ({shared}) SELECT {shared} FROM incoming")
            self._db.unregister("incoming")

    def close(self) -> None:
        """Close the database."""
        self._db.close()


@contextmanager
def open_database(tables: str = "", context: tuple[Any, ...] | None = None) -> Iterator[Database]:
    """A database in a temporary folder.

    Args:
        tables: Statements that create its tables.
        context: Values of the only row of the table `context`. None: no such table.

    Raises:
        UserError: The disk or the memory is full.
    """
    with tempfile.TemporaryDirectory(prefix="fer-ray-") as folder:
        try:
            database = Database(Path(folder))
            try:
                if context is not None:
                    database.run(queries.CONTEXT)
                    database.run("INSERT INTO context VALUES (?, ?, ?, ?, ?, ?, ?, ?)", context)
                database.run(tables)
                yield database
            finally:
                database.close()
        except DATABASE_LOST as problem:
            reason = str(problem).splitlines()[0]
            raise UserError(
                f"The sweep's database in the temporary folder {folder} failed: {reason}\nFree "
                "memory, or set TMPDIR to a folder on a working disk with enough space. Then rerun "
                "the command."
            ) from None
