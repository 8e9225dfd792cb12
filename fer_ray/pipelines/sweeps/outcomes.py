"""What blocks have read, in scratch files sorted by content, and failures by path."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.pipelines.sweeps.context import SweepContext
from fer_ray.pipelines.sweeps.planning.indexing import group_files, hashes
from fer_ray.storage.planning.partitions import partition_numbers
from fer_ray.storage.planning.sorted_files import write_sorted
from fer_ray.storage.table_folder import NewFile, TableFolder


@dataclass(frozen=True)
class IndexedOutcomes:
    """What a task has sorted.

    Attributes:
        contents: Scratch files of images and the contents that they have or had, by content.
        failures: Scratch files of images that could not be read, by path.
        touched: Numbers of the partitions of `images` that contain the latter.
    """

    contents: list[str]
    failures: list[str]
    touched: set[int]


@dataclass(frozen=True)
class IndexOutcomes:
    """The task: sorts what blocks have read.

    Attributes:
        readings: Folder of the table `readings`.
        scratch: Scratch folder.
        level: Level of the partitions of `images`.
    """

    readings: TableFolder
    scratch: TableFolder
    level: int

    def __call__(self, names: list[str]) -> IndexedOutcomes:
        """Sort the rows of files of both folders."""
        contents: list[pa.Table] = []
        failures: list[pa.Table] = []
        for name in names:
            if name.startswith("readings-"):
                for batch in self.readings.batches([name], ["path", "sha256"]):
                    contents.append(_contents(pa.table(batch), "sha256", retracted=False))
                continue
            for batch in self.scratch.batches([name]):
                rows = pa.table(batch)
                contents += _changed_contents(rows)
                failed = rows.filter(pc.is_null(rows["sha256"]))
                failures.append(failed.drop_columns(["planned"]))
        touched = set[int]()
        for failed in failures:
            touched |= partition_numbers(hashes(failed, "path"), self.level)
        return IndexedOutcomes(
            self._write("contents", contents, "sha256"),
            self._write("failures", failures, "path"),
            touched,
        )

    def _write(self, kind: str, tables: list[pa.Table], key: str) -> list[str]:
        if not tables:
            return []
        rows = pa.concat_tables(tables, promote_options="default")
        return write_sorted(self.scratch, kind, rows, hashes(rows, key))


def _changed_contents(rows: pa.Table) -> Iterator[pa.Table]:
    """The new contents of images that have changed, and those that they had before."""
    for column, retracted in (("sha256", False), ("planned", True)):
        yield _contents(rows.filter(pc.is_valid(rows[column])), column, retracted)


def _contents(rows: pa.Table, column: str, retracted: bool) -> pa.Table:
    hashes_read = rows[column].cast(pa.string())
    retractions = pa.array([retracted] * rows.num_rows, pa.bool_())
    return pa.table({"path": rows["path"], "sha256": hashes_read, "retracted": retractions})


def index_outcomes(sweep: SweepContext, files: list[NewFile]) -> None:
    """Sort what the blocks of a round have read.

    Args:
        sweep: The sweep.
        files: Files of `readings`, and scratch files with images that could not be read.
    """
    task = IndexOutcomes(sweep.store.folder("readings"), sweep.scratch, sweep.files.level)
    contents: list[str] = []
    for indexed in sweep.run(task, group_files({file.name: file for file in files})):
        contents += indexed.contents
        sweep.files.failures += indexed.failures
        sweep.files.touched |= indexed.touched
    sweep.files.outcomes.append(contents)
