"""Copies of key columns of a table in scratch files that are sorted by hash."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.storage.planning.partitions import content_hashes, path_hashes
from fer_ray.storage.planning.sorted_files import write_sorted
from fer_ray.storage.table_folder import TableFolder

MAX_ROWS = 262_144  # of a scratch file, and of the files that one task reads
MAX_FILES = 256  # maximum that one task reads
FILE = "file"  # column: name of the file that a row is from

T = TypeVar("T")

RESULT_COLUMNS = ["sha256", "recipe", "sweep", "face_index", "status", "stage", "error"]


@dataclass(frozen=True)
class IndexFiles:
    """The task: copies columns of files to scratch files, sorted by the hash of a key.

    Attributes:
        table: Folder of the files.
        scratch: Scratch folder.
        key: `path` or `sha256`; rows without it are left out.
        columns: Names of the columns, with the key.
    """

    table: TableFolder
    scratch: TableFolder
    key: str
    columns: list[str]

    def __call__(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Copy the rows of files.

        Returns:
            The names, and those of the scratch files.
        """
        scratch_files = []
        for tables in group_by_size(self._rows(names), lambda table: table.num_rows, MAX_ROWS):
            rows = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
            scratch_files += write_sorted(self.scratch, "index", rows, hashes(rows, self.key))
        return names, scratch_files

    def _rows(self, names: list[str]) -> Iterator[pa.Table]:
        for name in names:
            for batch in self.table.batches([name], self.columns):
                rows = pa.table(batch)
                rows = rows.filter(rows[self.key].is_valid())
                file = pa.array([name] * rows.num_rows, pa.string()).dictionary_encode()
                yield rows.append_column(FILE, file)


def hashes(rows: pa.Table, key: str) -> NDArray[np.uint32]:
    """The hash of each row: of its path or of its content."""
    values = rows[key].to_pylist()
    return content_hashes(values) if key == "sha256" else path_hashes(values)


def group_by_size(
    items: Iterable[T], size_of: Callable[[T], int], most: int, max_items: int | None = None
) -> Iterator[list[T]]:
    """Divide items, in order, into groups.

    Args:
        items: The items.
        size_of: Size of an item.
        most: Size of a group of several items.
        max_items: Items in a group. None: any number.
    """
    group: list[T] = []
    size = 0
    for item in items:
        if group and (size + size_of(item) > most or len(group) == max_items):
            yield group
            group, size = [], 0
        group.append(item)
        size += size_of(item)
    if group:
        yield group


def group_files(files: dict[str, Any]) -> Iterator[list[str]]:
    """Divide files into groups of at most `MAX_FILES` files and about `MAX_ROWS` rows.

    Args:
        files: By name; with their numbers of `rows`.
    """
    return group_by_size(files, lambda name: int(files[name].rows), MAX_ROWS, MAX_FILES)


class TableIndex:
    """The scratch files of a table that grows, each of one group of its files.

    Attributes:
        rows: Number of rows of the table.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._groups: list[tuple[frozenset[str], list[str]]] = []

    @property
    def files(self) -> list[str]:
        """Names of the scratch files."""
        return [name for _, names in self._groups for name in names]

    def outdated(self, active: dict[str, Any]) -> Iterator[list[str]]:
        """Forget groups with files that the table no longer has.

        Args:
            active: The files of the table, by name; with their numbers of `rows`.

        Returns:
            Groups of files to index.
        """
        self._groups = [group for group in self._groups if group[0] <= active.keys()]
        self.rows = sum(file.rows for file in active.values())
        known = {name for names, _ in self._groups for name in names}
        return group_files({name: file for name, file in active.items() if name not in known})

    def add(self, names: list[str], scratch_files: list[str]) -> None:
        """Add the scratch files of a group of files."""
        self._groups.append((frozenset(names), scratch_files))
