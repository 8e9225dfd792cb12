"""Planning of one partition of the images: what is new, changed or gone."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fer_ray.pipelines.sweeps.planning.indexing import hashes
from fer_ray.sources.quality import Quality
from fer_ray.storage.planning import queries
from fer_ray.storage.planning.database import Database, open_database
from fer_ray.storage.planning.partitions import (
    Partition,
    partition_numbers,
    partition_of,
)
from fer_ray.storage.planning.sorted_files import read_partition, write_sorted
from fer_ray.storage.table_folder import NewFile, TableFolder, unique_name

SAMPLE = 16  # paths per partition and kind
MAX_EXAMPLES = 3  # paths of images that are gone
TODO_ROW_GROUP = 1_024

Samples = list[tuple[int, str]]  # a random number and a path each, in order


class PlanContext(NamedTuple):
    """What the queries need to know about a sweep.

    Attributes:
        recipe: Fingerprint of the store recipe.
        sweep: Name of the sweep.
        listed_ns: When its listing began, in nanoseconds since 1970; later than that of any sweep
            that has published.
        gone: Whether rows of images that are gone are deleted: `delete` or `keep`.
        retry: Which failed images to retry: `none`, `unread` or `all`.
        max_bytes: Larger files are not read.
        reread: Share of the seemingly unchanged images that are read again.
        folder_labels: Whether labels of the listing, which come from folders, are used.
    """

    recipe: str
    sweep: str
    listed_ns: int
    gone: str
    retry: str
    max_bytes: int
    reread: float
    folder_labels: bool = True


@dataclass
class Summary:
    """Figures of the images of the store, of one partition or of several.

    Attributes:
        images: Number of images.
        labelled: How many of them have a label or a subject.
        statuses: Number of images by status.
        failures: Number of failed images by status and error.
        examples: Paths of some of them.
        by_status: Paths of some images by status.
    """

    images: int = 0
    labelled: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    by_status: dict[str, list[str]] = field(default_factory=dict)

    def add(self, other: "Summary") -> None:
        """Add the figures of another partition."""
        self.images += other.images
        self.labelled += other.labelled
        self.statuses += other.statuses
        self.failures += other.failures
        _add_paths(self.examples, other.examples)
        _add_paths(self.by_status, other.by_status)


def _add_paths(known: dict[Any, list[str]], others: dict[Any, list[str]]) -> None:
    for kind, paths in others.items():
        known[kind] = sorted([*known.get(kind, []), *paths])[:5]


@dataclass(frozen=True)
class PartitionPlan:
    """The plan of a partition. Its rows are in scratch files.

    Attributes:
        partition: The partition.
        planned: Number of images by kind of work.
        size: Number of their bytes by kind of work.
        changes: Images that change or are to be processed, by path.
        contents: Images whose content is known, by content.
        unread: To-do file of images to read.
        touched: Numbers of the partitions, at the level of the plan, whose images change.
        summary: Figures of the images in the store.
        labelled: Number of listed images with a label or a subject.
        gone: Paths of some images that are gone.
        known_sample: Random images that were read before.
        unread_sample: Random images to read.
        unused_labels: Labels without an image.
    """

    partition: Partition
    planned: Counter[str]
    size: Counter[str]
    changes: list[str]
    contents: list[str]
    unread: NewFile | None
    touched: set[int]
    summary: Summary
    labelled: int
    gone: list[str]
    known_sample: Samples
    unread_sample: Samples
    unused_labels: Quality


@dataclass(frozen=True)
class ImageFiles:
    """The files of the table `images`, of one version.

    Attributes:
        folder: Folder of the table.
        names: Names of its files, which say whose images they contain.
    """

    folder: TableFolder
    names: list[str]

    def overlapping(self, partition: Partition) -> list[str]:
        """Names of the files that can contain images of a partition."""
        return [name for name in self.names if partition_of(name).overlaps(partition)]

    def separate(self, partition: Partition) -> bool:
        """Return whether all images of a partition are in one file, which contains no others."""
        files = self.overlapping(partition)
        return not files or [partition_of(name) for name in files] == [partition]

    def batches(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        """Stream the images of a partition."""
        for name in self.overlapping(partition):
            shared = partition_of(name).level >= partition.level
            for batch in self.folder.batches([name]):
                yield batch if shared else _within(batch, partition)


def _within(batch: pa.RecordBatch, partition: Partition) -> pa.RecordBatch:
    found = hashes(batch, "path").astype(np.int64)
    return batch.filter(pa.array((found >= partition.start) & (found < partition.stop)))


@dataclass(frozen=True)
class PlanImages:
    """The task: compares one partition of the listing with the store.

    Attributes:
        context: The sweep.
        scratch: Scratch folder.
        images: The images of the store.
        listing: Scratch files of the listing, by path.
        labels: Those of labels.csv, by path.
        readings: Those of images that unfinished sweeps have read, by path.
    """

    context: PlanContext
    scratch: TableFolder
    images: ImageFiles
    listing: list[str]
    labels: list[str]
    readings: list[str]

    def __call__(self, partition: Partition) -> PartitionPlan:
        """Plan a partition.

        Raises:
            UserError: The temporary folder is full, or a file cannot be read.
        """
        with open_database(queries.IMAGES + queries.LISTING, self.context) as database:
            database.insert("images", self.images.batches(partition))
            sources = {"entries": self.listing, "labels": self.labels, "readings": self.readings}
            for table, names in sources.items():
                database.insert(table, read_partition(self.scratch, names, partition))
            database.run(queries.PLAN)
            return self._plan(database, partition)

    def _plan(self, database: Database, partition: Partition) -> PartitionPlan:
        counts = database.rows(queries.PLANNED)
        changes = database.arrow(queries.CHANGED)
        contents = database.arrow(queries.WITH_CONTENT)
        certain = database.arrow(f"SELECT path FROM ({queries.CHANGED}) WHERE status IS NOT NULL "
                                 "OR kind = 'gone'")  # fmt: skip
        return PartitionPlan(
            partition=partition,
            planned=Counter({kind: count for kind, count, _ in counts}),
            size=Counter({kind: size for kind, _, size in counts}),
            changes=write_sorted(self.scratch, "changes", changes, hashes(changes, "path")),
            contents=write_sorted(self.scratch, "contents", contents, hashes(contents, "sha256")),
            unread=write_todo(self.scratch, database.arrow(queries.UNREAD)),
            touched=partition_numbers(hashes(certain, "path"), partition.level),
            summary=summarise(database, "images"),
            labelled=database.rows(f"SELECT {queries.LABELLED} FROM listing")[0][0],
            gone=[path for (path,) in database.rows(f"{queries.GONE} {MAX_EXAMPLES}")],
            known_sample=database.rows(f"{queries.KNOWN_SAMPLE} {SAMPLE}"),
            unread_sample=database.rows(f"{queries.UNREAD_SAMPLE} {SAMPLE}"),
            unused_labels=_unused_labels(database),
        )


def write_todo(scratch: TableFolder, rows: pa.Table) -> NewFile | None:
    """Write a to-do file; None if there is nothing to do."""
    if not rows.num_rows:
        return None
    return scratch.write(rows, unique_name("todo"), row_group=TODO_ROW_GROUP)


def summarise(database: Database, table: str) -> Summary:
    """The figures of the images in a table of a database."""
    images, labelled = database.rows(f"SELECT count(*), {queries.LABELLED} FROM {table}")[0]
    statuses = database.rows(queries.STATUSES.format(table=table))
    failures = database.rows(queries.FAILURES.format(table=table))
    return Summary(
        images,
        labelled,
        Counter({status: count for status, count, _ in statuses}),
        Counter({(status, error): count for status, error, count, _ in failures}),
        {(status, error): paths for status, error, _, paths in failures},
        {status: paths for status, _, paths in statuses},
    )


def merge_samples(samples: Iterable[Samples], count: int) -> list[str]:
    """The paths with the smallest random numbers of several samples."""
    return [path for _, path in heapq.nsmallest(count, (one for part in samples for one in part))]


def _unused_labels(database: Database) -> Quality:
    quality = Quality()
    for (path,) in database.rows(queries.WITHOUT_IMAGE):
        quality.note("unknown_path", path)
    return quality
