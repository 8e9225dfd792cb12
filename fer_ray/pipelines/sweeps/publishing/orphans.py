"""Removal of results that no image of the store uses."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from fer_ray.pipelines.sweeps.planning.indexing import IndexFiles, group_files
from fer_ray.pipelines.sweeps.planning.plan_work import index_results
from fer_ray.pipelines.sweeps.publishing.rewrite import remove_contents
from fer_ray.storage.planning import queries
from fer_ray.storage.planning.database import open_database
from fer_ray.storage.planning.partitions import Partition, level_for, partitions, path_hashes
from fer_ray.storage.planning.sorted_files import read_partition, write_sorted
from fer_ray.storage.snapshot import TableFile
from fer_ray.storage.table_folder import TableFolder

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import SweepContext

READER_GRACE = timedelta(hours=1)  # how long results stay for readers of an earlier version


@dataclass(frozen=True)
class Orphans:
    """Results without an image, in a partition of the contents.

    Attributes:
        scratch_files: Their keys, by the file of `results` that contains them.
        files: Names of these files.
        removable: Number of contents.
        waiting: Number of contents that a reader may still use.
    """

    scratch_files: list[str]
    files: set[str]
    removable: int
    waiting: int


@dataclass(frozen=True)
class FindOrphans:
    """The task: finds the results of one partition of the contents that no image uses.

    Only results of finished sweeps and of sweeps older than the retention count, since any other
    sweep may be about to publish the images of its results.

    Attributes:
        scratch: Scratch folder.
        results: Scratch files of the keys of results, by content.
        images: Those of the latest images, by content.
        earlier: Those of images of recent versions, by content.
        before: Sweeps whose names sort before this are older than the retention.
        finished: Names of finished sweeps.
    """

    scratch: TableFolder
    results: list[str]
    images: list[str]
    earlier: list[str]
    before: str
    finished: list[str]

    def __call__(self, partition: Partition) -> Orphans:
        """Find the orphans of a partition.

        Raises:
            UserError: The temporary folder is full, or a file cannot be read.
        """
        with open_database(queries.USES) as database:
            database.insert("keys", read_partition(self.scratch, self.results, partition))
            for latest, names in ((True, self.images), (False, self.earlier)):
                for batch in read_partition(self.scratch, names, partition):
                    column = pa.array([latest] * batch.num_rows, pa.bool_())
                    database.insert("uses", [batch.append_column("latest", column)])
            names = pa.array(self.finished, pa.string())
            database.insert("finished", pa.table({"sweep": names}).to_batches())
            database.run(queries.ORPHANS, [self.before])
            keys = database.arrow("SELECT file, sha256, recipe FROM orphans WHERE NOT waiting")
            [(removable, waiting)] = database.rows(queries.ORPHAN_COUNTS)
        files = keys["file"].to_pylist()
        scratch_files = write_sorted(self.scratch, "orphans", keys, path_hashes(files))
        return Orphans(scratch_files, set(files), removable, waiting)


def remove_orphans(sweep: "SweepContext", finished: list[str]) -> None:
    """Remove results that no image uses, except those that a reader may still need.

    Args:
        sweep: This sweep, which has published its images.
        finished: Names of finished sweeps.
    """
    store, record = sweep.store, sweep.record
    images = store.snapshot("images")
    index_results(sweep)
    earlier: dict[str, TableFile] = {}
    grace = min(READER_GRACE, timedelta(hours=sweep.settings.sweep.retention_hours))
    for version in store.versions("images", datetime.now(UTC) - grace):
        earlier |= store.snapshot("images", version).files()
    latest = images.files()
    earlier = {name: file for name, file in earlier.items() if name not in latest}
    task = FindOrphans(
        sweep.scratch, sweep.files.results.files, _index_images(sweep, latest),
        _index_images(sweep, earlier), sweep.retention_start, finished,
    )  # fmt: skip
    found = list(sweep.run(task, iter(partitions(level_for(sweep.files.results.rows)))))
    removable = sum(part.removable for part in found)
    record.results_waiting = sum(part.waiting for part in found)
    orphans = [name for part in found for name in part.scratch_files]
    files = set[str]().union(*(part.files for part in found))
    if not files:
        return
    # Another sweep may have published in the meantime, perhaps images with these contents.
    if images.version == sweep.files.images_version and remove_contents(sweep, orphans, files):
        record.results_removed += removable
    else:
        record.results_waiting += removable


def _index_images(sweep: "SweepContext", files: dict[str, TableFile]) -> list[str]:
    """Sort content and recipe of the images in files by content."""
    folder = sweep.store.folder("images")
    task = IndexFiles(folder, sweep.scratch, "sha256", ["sha256", "recipe"])
    return [name for _, names in sweep.run(task, group_files(files)) for name in names]
