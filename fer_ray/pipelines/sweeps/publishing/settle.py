"""The outcome of each content: its results, or that it is still to be processed."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from fer_ray.pipelines.sweeps.planning.indexing import hashes
from fer_ray.pipelines.sweeps.planning.plan_partition import (
    SAMPLE,
    PlanContext,
    Samples,
    write_todo,
)
from fer_ray.storage.planning import queries
from fer_ray.storage.planning.database import open_database
from fer_ray.storage.planning.partitions import Partition, partition_numbers
from fer_ray.storage.planning.sorted_files import read_partition, write_sorted
from fer_ray.storage.table_folder import NewFile, TableFolder


@dataclass(frozen=True)
class Settled:
    """The outcomes of a partition of the contents. Its rows are in scratch files.

    Attributes:
        files: Images whose content has results, by path.
        todo: To-do file with one image of each content without results.
        missing: Number of images, by planned kind, whose content has lost its results.
        missing_size: Number of their bytes, by planned kind.
        touched: Numbers of the partitions of `images` that contain images in `files`.
        sample: Random images of contents to process.
    """

    files: list[str]
    todo: NewFile | None
    missing: Counter[str]
    missing_size: Counter[str]
    touched: set[int]
    sample: Samples


@dataclass(frozen=True)
class SettleContents:
    """The task: finds the results of one partition of the contents.

    Attributes:
        context: The sweep.
        scratch: Scratch folder.
        level: Level of the partitions of `images`.
        contents: Scratch files of images whose content is known, by content.
        outcomes: Those of images that were read, by content, for each round.
        results: Those of the keys of results, by content.
    """

    context: PlanContext
    scratch: TableFolder
    level: int
    contents: list[str]
    outcomes: list[list[str]]
    results: list[str]

    def __call__(self, partition: Partition) -> Settled:
        """Settle a partition.

        Raises:
            UserError: The temporary folder is full, or a file cannot be read.
        """
        with open_database(queries.CONTENTS, self.context) as database:
            contents = read_partition(self.scratch, self.contents, partition)
            database.insert("with_content", contents)
            database.insert("result_rows", read_partition(self.scratch, self.results, partition))
            for number, names in enumerate(self.outcomes, start=1):
                database.insert("outcomes", self._outcomes(names, number, partition))
            database.run(queries.SETTLE)
            settled, missing = database.arrow(queries.SETTLED), database.rows(queries.MISSING)
            found = hashes(settled, "path")
            return Settled(
                files=write_sorted(self.scratch, "settled", settled, found),
                todo=write_todo(self.scratch, database.arrow(queries.TO_PROCESS)),
                missing=Counter({kind: count for kind, count, _ in missing}),
                missing_size=Counter({kind: size for kind, _, size in missing}),
                touched=partition_numbers(found, self.level),
                sample=database.rows(f"{queries.TO_PROCESS_SAMPLE} {SAMPLE}"),
            )

    def _outcomes(
        self, names: list[str], number: int, partition: Partition
    ) -> Iterator[pa.RecordBatch]:
        for batch in read_partition(self.scratch, names, partition):
            rounds = pa.array([number] * batch.num_rows, pa.int32())
            yield batch.append_column("round", rounds)
