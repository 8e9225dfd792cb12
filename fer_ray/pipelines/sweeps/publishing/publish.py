"""Publication of a sweep: the partitions of `images` that change, in one commit."""

import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fer_ray.pipelines.sweeps.planning.plan_partition import (
    ImageFiles,
    PlanContext,
    Summary,
    summarise,
)
from fer_ray.pipelines.sweeps.planning.plan_work import require_same_source, settle
from fer_ray.pipelines.sweeps.publishing.commits import retry_commit
from fer_ray.storage.planning import queries
from fer_ray.storage.planning.database import open_database
from fer_ray.storage.planning.partitions import Partition, partition_file, partition_of, partitions
from fer_ray.storage.planning.sorted_files import read_partition
from fer_ray.storage.table_folder import NewFile, TableFolder, unique_name
from fer_ray.store_schemas import IMAGES_SCHEMA

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import SweepContext

IMAGE_KEYS = ("path", "size", "sha256", "recipe", "status", "sweep", "listed_ns")  # with statistics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewPartition:
    """What a task has done to a partition of `images`.

    Attributes:
        partition: The partition.
        unchanged: Whether its files in the store stay.
        file: Its rows; None if it is empty or unchanged.
        counts: Rows to `put` and `delete`, and those that are `replaced` in the store.
        summary: Figures of its images.
    """

    partition: Partition
    unchanged: bool
    file: NewFile | None
    counts: Counter[str]
    summary: Summary


@dataclass(frozen=True)
class WritePartition:
    """The task: writes one partition of `images` with the changes of a sweep.

    Attributes:
        context: The sweep.
        scratch: Scratch folder.
        images: The images of the store.
        changes: Scratch files of the images that change, by path.
        settled: Those of images whose content has results, or that could not be read, by path.
    """

    context: PlanContext
    scratch: TableFolder
    images: ImageFiles
    changes: list[str]
    settled: list[str]

    def __call__(self, partition: Partition) -> NewPartition:
        """Write a partition.

        Raises:
            UserError: The temporary folder is full, or a file cannot be read or written.
        """
        with open_database(queries.IMAGES + queries.OUTCOMES, self.context) as database:
            database.insert("images", self.images.batches(partition))
            database.insert("plan", read_partition(self.scratch, self.changes, partition))
            database.insert("settled", read_partition(self.scratch, self.settled, partition))
            database.run(queries.CHANGES + queries.PUBLISHED)
            [(put, delete, replaced)] = database.rows(queries.COUNTS)
            rows = database.arrow("SELECT * FROM published")
            summary = summarise(database, "published")
        unchanged = not put and not delete and self.images.separate(partition)
        file = None
        if rows.num_rows and not unchanged:
            columns = rows.select(IMAGES_SCHEMA.names).cast(IMAGES_SCHEMA)
            name = partition_file(partition, unique_name("images"))
            file = self.images.folder.write(columns, name, IMAGE_KEYS)
        counts = Counter(put=put, delete=delete, replaced=replaced)
        return NewPartition(partition, unchanged, file, counts, summary)


@dataclass(frozen=True)
class SummariseImages:
    """The task: computes the figures of one partition of `images`.

    Attributes:
        images: The images of the store.
    """

    images: ImageFiles

    def __call__(self, partition: Partition) -> tuple[int, Summary]:
        """The number of a partition and the figures of its images.

        Raises:
            UserError: The temporary folder is full, or a file cannot be read.
        """
        with open_database(queries.IMAGES) as database:
            database.insert("images", self.images.batches(partition))
            return partition.number, summarise(database, "images")


def publish(sweep: "SweepContext") -> dict[str, int]:
    """Commit all changes of `images` in one commit.

    Returns:
        The number of rows written (`put`, `replaced` of them existed) and deleted (`delete`).
    """
    return retry_commit(partial(_publish, sweep), sweep.store.uri)


def _publish(sweep: "SweepContext") -> dict[str, int]:
    base, files = sweep.store.snapshot("images"), sweep.files
    other = base.commit_metadata() if base.version != files.images_version else {}
    require_same_source(sweep, other.get("source"))
    settle(sweep)
    if count := sum(todo.rows for todo in files.to_process):
        logger.warning(
            "%d contents are left to the next sweep: another sweep has removed their results "
            "because no image used them yet", count,
        )  # fmt: skip
    images = ImageFiles(sweep.store.folder("images"), list(base.files()))
    changed = _changed_partitions(images, files.touched, files.level)
    task = WritePartition(
        sweep.context, sweep.scratch, images, files.changes, [*files.settled, *files.failures]
    )
    written = list(sweep.run(task, iter(changed)))
    counts = sum((new.counts for new in written), Counter(put=0, delete=0, replaced=0))
    added = [new.file for new in written if new.file]
    if counts["put"] or counts["delete"]:
        replaced = [new.partition for new in written if not new.unchanged]
        removed = {name for one in replaced for name in images.overlapping(one)}
        snapshot = sweep.store.commit(
            base, added, IMAGES_SCHEMA, sweep.commit_metadata, sorted(removed)
        )
        _summarise(sweep, written, base.version, snapshot.version)
    else:
        images.folder.delete([file.name for file in added])
        _summarise(sweep, [], base.version, base.version)
    if other.get("recipe", sweep.recipe.fingerprint) != sweep.recipe.fingerprint:
        logger.warning(
            "while this sweep was running, sweep %s published images in this store under another "
            "recipe; this sweep then replaced %d rows. Use a separate store for each recipe.",
            other.get("sweep"), counts["replaced"],
        )  # fmt: skip
    return {name: counts[name] for name in ("put", "delete", "replaced")}


def _summarise(
    sweep: "SweepContext", written: list[NewPartition], base_version: int, version: int
) -> None:
    """Update the figures of all partitions; compute them again if another sweep has published."""
    files = sweep.files
    same_level = all(new.partition.level == files.level for new in written)
    if base_version == files.images_version and same_level:
        files.summaries |= {new.partition.number: new.summary for new in written}
    else:
        latest = sweep.store.snapshot("images", version) if version >= 0 else None
        names = list(latest.files()) if latest else []
        task = SummariseImages(ImageFiles(sweep.store.folder("images"), names))
        files.summaries = dict(sweep.run(task, iter(partitions(files.level))))
    files.images_version = version


def _changed_partitions(images: ImageFiles, touched: set[int], level: int) -> list[Partition]:
    """The partitions to write: those that change, and those that share a file with one of them."""
    level = max([level, *(partition_of(name).level for name in images.names)])
    every = partitions(level)
    pending = [one for number in touched for one in every if Partition(number).overlaps(one)]
    changed: set[Partition] = set()
    while pending:
        one = pending.pop()
        if one in changed:
            continue
        changed.add(one)
        for name in images.overlapping(one):
            pending += [other for other in every if partition_of(name).overlaps(other)]
    return sorted(changed)
