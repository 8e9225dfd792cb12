"""Files of `results` that are rewritten: joined, or without removed contents."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.pipelines.sweeps.block_files import RESULT_KEYS
from fer_ray.pipelines.sweeps.planning.indexing import FILE, group_by_size
from fer_ray.storage.delta_store import ConflictError
from fer_ray.storage.planning.partitions import path_hashes
from fer_ray.storage.planning.sorted_files import HASH
from fer_ray.storage.snapshot import TableFile
from fer_ray.storage.table_folder import NewFile, TableFolder, unique_name

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import SweepContext

JOIN_FROM = 8  # small files
SMALL_FILE_BYTES = 33_554_432
TARGET_FILE_BYTES = 134_217_728  # a task has about twice as much in memory


@dataclass(frozen=True)
class RewriteFiles:
    """The task: writes the rows of several files to a new one.

    Attributes:
        results: Folder of the table.
        schema: Schema of the table.
        scratch: Scratch folder.
        orphans: Scratch files with contents to leave out, by the file that contains them.
    """

    results: TableFolder
    schema: pa.Schema
    scratch: TableFolder
    orphans: list[str] = field(default_factory=list)

    def __call__(self, names: list[str]) -> tuple[list[str], NewFile | None]:
        """Write a new file.

        Args:
            names: Names of the files to replace.

        Returns:
            The names, and the new file; None if no rows are left.
        """
        batches = (batch for name in names for batch in self._batches(name))
        return names, self.results.write_batches(
            batches, self.schema, unique_name("results"), RESULT_KEYS
        )

    def _batches(self, name: str) -> Iterator[pa.RecordBatch]:
        found = pc.field(HASH) == int(path_hashes([name])[0])
        rows = found & (pc.field(FILE) == name)
        keys = [pa.table(batch) for batch in self.scratch.batches(self.orphans, rows=rows)]
        left_out = _pairs(pa.concat_tables(keys)) if keys else None
        for batch in self.results.batches([name], schema=self.schema):
            if left_out is not None:
                batch = batch.filter(pc.invert(pc.is_in(_pairs(batch), left_out)))
            yield batch


def _pairs(rows: pa.Table | pa.RecordBatch) -> pa.Array:
    """Content and recipe of each row, as one text."""
    pairs = pc.binary_join_element_wise(rows["sha256"], rows["recipe"], "-")
    return pairs.combine_chunks() if isinstance(pairs, pa.ChunkedArray) else pairs


def join_small_files(sweep: "SweepContext") -> None:
    """Join small files of `results`, unless another sweep commits at the same time."""
    snapshot = sweep.store.snapshot("results")
    groups = list(_small_groups(snapshot.files()))
    if not groups:
        return
    folder = sweep.store.folder("results")
    joined = list(sweep.run(RewriteFiles(folder, snapshot.schema, sweep.scratch), iter(groups)))
    removed = [name for names, _ in joined for name in names]
    added = [file for _, file in joined if file]
    with suppress(ConflictError):
        sweep.store.commit(
            snapshot, added, snapshot.schema, sweep.commit_metadata, removed, data_change=False
        )
        return
    folder.delete([file.name for file in added])


def _small_groups(files: dict[str, TableFile]) -> Iterator[list[str]]:
    """Groups of small files to join, if these are many and fit into half as many."""
    small = {name: file.size for name, file in files.items() if file.size < SMALL_FILE_BYTES}
    total = sum(file.size for file in files.values())
    if len(small) < JOIN_FROM or len(small) <= 2 * total / TARGET_FILE_BYTES:
        return
    smallest_first = sorted(small, key=lambda name: small[name])
    groups = group_by_size(smallest_first, lambda name: small[name], TARGET_FILE_BYTES)
    yield from (group for group in groups if len(group) > 1)


def remove_contents(sweep: "SweepContext", orphans: list[str], files: Iterable[str]) -> bool:
    """Remove contents from files of `results`.

    Args:
        sweep: The sweep.
        orphans: Scratch files with the contents, by the file that contains them.
        files: Names of the files.

    Returns:
        Whether they were removed; not if another sweep has replaced one of the files.
    """
    snapshot, folder = sweep.store.snapshot("results"), sweep.store.folder("results")
    names = sorted(files)
    task = RewriteFiles(folder, snapshot.schema, sweep.scratch, orphans)
    written = [file for _, file in sweep.run(task, ([name] for name in names)) if file]
    while snapshot.files().keys() >= set(names):
        with suppress(ConflictError):
            sweep.store.commit(snapshot, written, snapshot.schema, sweep.commit_metadata, names)
            return True
        snapshot = sweep.store.snapshot("results")
    folder.delete([file.name for file in written])
    return False
