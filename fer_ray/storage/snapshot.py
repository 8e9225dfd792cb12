"""A version of one of a store's tables, as readers see it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from fer_ray.storage.parquet import require_plain
from fer_ray.storage.uris import lost_on_error

Name = Literal["images", "results", "readings"]


@dataclass(frozen=True)
class Snapshot:
    """A version of a table that stays readable while others write; None: there is no table yet."""

    name: Name
    table: DeltaTable | None

    @property
    def version(self) -> int:
        """Its number, -1 for a table that is not there yet."""
        return -1 if self.table is None else self.table.version()

    def files(self) -> frozenset[str]:
        """The names of its files."""
        if self.table is None:
            return frozenset()
        return frozenset(pa.table(self.table.get_add_actions())["path"].to_pylist())

    def batches(
        self, columns: list[str], but: frozenset[str] = frozenset()
    ) -> Iterator[pa.RecordBatch]:
        """The named columns, as a stream; those that the table lacks are left out.

        Args:
            columns: Names.
            but: Files that are passed over.
        """
        if self.table is None:
            return
        with lost_on_error(self.table.table_uri):
            dataset = self.table.to_pyarrow_dataset()
            require_plain(dataset.schema, self.table.table_uri)
            known = [name for name in columns if name in dataset.schema.names]
            reading = {"columns": known, "batch_readahead": 2}
            if not but:
                yield from dataset.scanner(**reading, fragment_readahead=2).to_batches()
                return
            for fragment in dataset.get_fragments():
                if fragment.path not in but:
                    yield from fragment.scanner(schema=dataset.schema, **reading).to_batches()

    def largest(self, column: str) -> int | None:
        """The largest number of a column, by the files' own statistics where they have any."""
        if self.table is None:
            return None
        actions = pa.table(self.table.get_add_actions(flatten=True))
        known = actions.column(f"max.{column}") if f"max.{column}" in actions.column_names else None
        if known is not None and not known.null_count:
            return None if not len(known) else int(pc.max(known).as_py())
        found = [pc.max(batch[column]).as_py() for batch in self.batches([column])]
        return max((one for one in found if one is not None), default=None)
