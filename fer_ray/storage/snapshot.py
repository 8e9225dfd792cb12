"""One version of a table of a store."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from fer_ray.storage.table_folder import TableFolder

TableName = Literal["images", "results", "readings"]


class TableFile(NamedTuple):
    """A file of a table.

    Attributes:
        size: Bytes.
        rows: Number of rows; 0 if its statistics do not say.
    """

    size: int
    rows: int


@dataclass(frozen=True)
class Snapshot:
    """A version of a table, which stays readable while others write.

    Attributes:
        name: Name of the table.
        table: The table at this version; None if it does not exist yet.
        folder: The folder of its files.
    """

    name: TableName
    table: DeltaTable | None
    folder: TableFolder

    @property
    def version(self) -> int:
        """The number of the version; -1 if the table does not exist yet."""
        return -1 if self.table is None else self.table.version()

    @property
    def schema(self) -> pa.Schema:
        """The columns of the table.

        Raises:
            ValueError: The table does not exist yet.
        """
        if self.table is None:
            raise ValueError(f"the table {self.name} does not exist")
        return pa.schema(self.table.schema().to_arrow())

    def files(self) -> dict[str, TableFile]:
        """The table's files, by their names."""
        if self.table is None:
            return {}
        actions = pa.table(self.table.get_add_actions())
        columns = (actions[name].to_pylist() for name in ("path", "size_bytes", "num_records"))
        return {name: TableFile(size, rows or 0) for name, size, rows in zip(*columns, strict=True)}

    def commit_metadata(self) -> dict[str, Any]:
        """The metadata of the latest commit; empty without a table, or if its log is removed."""
        return next(iter(self.table.history(1)), {}) if self.table is not None else {}

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream columns of the table; those that the table does not have are left out."""
        if self.table is None:
            return
        yield from self.folder.batches(list(self.files()), columns, schema=self.schema)

    def max_value(self, column: str) -> int | None:
        """The largest value of a column, from the files' statistics where all have them."""
        if self.table is None:
            return None
        actions = pa.table(self.table.get_add_actions(flatten=True))
        largest = f"max.{column}"
        known = actions.column(largest) if largest in actions.column_names else None
        if known is not None and not known.null_count:
            return None if not len(known) else int(pc.max(known).as_py())
        values = [pc.max(batch[column]).as_py() for batch in self.batches([column])]
        return max((value for value in values if value is not None), default=None)
