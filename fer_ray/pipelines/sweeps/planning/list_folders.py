"""The first step of a sweep: list the source, folder by folder, in tasks."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.execution.cluster.shared_storage import not_shared_message
from fer_ray.pipelines.sweeps.context import SweepContext
from fer_ray.settings.datasets import DatasetName
from fer_ray.settings.label_codes import LabelCodes
from fer_ray.sources.labels import FolderLabels, Label
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import Source
from fer_ray.storage.planning.partitions import path_hashes
from fer_ray.storage.planning.sorted_files import write_sorted
from fer_ray.storage.table_folder import TableFolder
from fer_ray.store_schemas import IMAGES_SCHEMA

TASK_IMAGES = 32_768  # after which a task hands back the folders that it has not listed
FILE_IMAGES = 65_536  # images per scratch file
LABEL_FIELDS = [IMAGES_SCHEMA.field(name) for name in ("subject", "emotion", "label")]
LISTING = pa.schema(
    [
        *(IMAGES_SCHEMA.field(name) for name in ("path", "size", "mtime_ns")),
        pa.field("problem", pa.string()),  # why it cannot be read, if the listing shows that
        *LABEL_FIELDS,
    ]
)
LABELS = pa.schema([IMAGES_SCHEMA.field("path"), *LABEL_FIELDS])


@dataclass(frozen=True)
class Folders:
    """Folders to list.

    Attributes:
        pending: As returned by a walk of the source. None: all.
        links: Links to folders outside the source, which are followed in one task.
    """

    pending: list[Any] | None = None
    links: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listed:
    """What a task has listed.

    Attributes:
        images: Number of images.
        files: Scratch files with their rows.
        pending: Folders that it has found and not listed.
        links: Links to folders outside the source, by their paths.
        vanished: Folders that no longer existed.
        quality: Irregularities.
        folder_labels: What folders were read as.
    """

    images: int
    files: list[str]
    pending: list[Any]
    links: dict[str, str]
    vanished: list[str]
    quality: Quality
    folder_labels: FolderLabels


@dataclass(frozen=True)
class ListFolders:
    """The task: lists the images in folders and below them.

    Attributes:
        source: The source.
        scratch: Scratch folder.
        label_by_folder: Whether labels follow from the names of folders.
        codes: Codes of folders that are named by numbers.
        dataset: Published data set whose file names are read.
        used_files: Files with labels, which are not counted as other files.
    """

    source: Source
    scratch: TableFolder
    label_by_folder: bool
    codes: LabelCodes | None = None
    dataset: DatasetName | None = None
    used_files: frozenset[str] = frozenset()

    def __call__(self, folders: Folders) -> Listed:
        """List folders until there are `TASK_IMAGES` images; links are followed to their end.

        Raises:
            SourceLostError: A folder cannot be listed.
        """
        quality, files, images = Quality(self.used_files), list[str](), 0
        folder_labels = FolderLabels(self.codes, self.dataset)
        walk = self.source.walk(quality, folders.pending)
        walk.links.update(folders.links)
        following = bool(folders.links)
        rows: list[tuple[Any, ...]] = []
        while walk.pending or (following and walk.next_link()):
            for entry in self.source.entries_of(walk):
                label = folder_labels(entry.path) if self.label_by_folder else Label()
                rows.append((*entry, label.subject, label.emotion, label.code))
                if len(rows) == FILE_IMAGES:
                    files += write_rows(self.scratch, "listing", rows, LISTING)
                    images, rows = images + len(rows), []
            if images + len(rows) >= TASK_IMAGES and not following:
                break
        files += write_rows(self.scratch, "listing", rows, LISTING)
        return Listed(
            images + len(rows), files, walk.pending, walk.links, walk.vanished, quality,
            folder_labels,
        )  # fmt: skip


def write_rows(
    scratch: TableFolder, kind: str, rows: list[tuple[Any, ...]], schema: pa.Schema
) -> list[str]:
    """Write rows, the first column of which is a path, to a scratch file sorted by its hash."""
    if not rows:
        return []
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column, f.type) for column, f in zip(columns, schema, strict=True)]
    table = pa.table(arrays, schema=schema)
    return write_sorted(scratch, kind, table, path_hashes(columns[0]))


class _Queue:
    """Folders to list. It may yield again after it has ended, since tasks find folders.

    Attributes:
        folders: Folders that no task has taken.
        paused: Whether it ends although there are folders.
    """

    def __init__(self, workers: int) -> None:
        self.folders: deque[Any] = deque()
        self.paused = False
        self._first = True
        self._workers = workers

    def __bool__(self) -> bool:
        return self._first or bool(self.folders)

    def __iter__(self) -> Iterator[Folders]:
        return self

    def __next__(self) -> Folders:
        if self._first:
            self._first = False
            return Folders()
        if not self.folders or self.paused:
            raise StopIteration
        share = max(1, len(self.folders) // (4 * self._workers))
        return Folders([self.folders.popleft() for _ in range(share)])


def list_folders(sweep: SweepContext, by_folder: bool) -> FolderLabels:
    """List the images of the source into scratch files.

    Args:
        sweep: The sweep.
        by_folder: Whether labels follow from the names of folders and files.

    Returns:
        What the names were read as.

    Raises:
        SourceLostError: A folder cannot be listed.
        UserError: A node sees other folders than the driver.
    """
    selection = sweep.settings.extract.selection
    codes, dataset = selection.folder_codes, selection.dataset
    used_files = frozenset(sweep.quality.used_files)
    task = ListFolders(sweep.source, sweep.scratch, by_folder, codes, dataset, used_files)
    folder_labels = FolderLabels(codes, dataset)
    queue, links = _Queue(sweep.runner.workers), dict[str, str]()
    with sweep.progress("list", "images", 0) as advance:
        while queue:
            for listed in sweep.run(task, queue):
                _add(sweep, listed)
                folder_labels.add(listed.folder_labels)
                queue.paused = sweep.needs_ray_for(sweep.files.listed)
                queue.folders.extend(listed.pending)
                links.update(listed.links)
                advance(listed.images)
            if queue.paused:  # after the results of all tasks that have taken folders
                sweep.runner.start()
                queue.paused = False
        if links:
            for listed in sweep.run(task, iter([Folders([], links)])):
                _add(sweep, listed)
                folder_labels.add(listed.folder_labels)
                advance(listed.images)
    return folder_labels


def _add(sweep: SweepContext, listed: Listed) -> None:
    _require_vanished(sweep, listed.vanished)
    sweep.files.listing += listed.files
    sweep.files.listed += listed.images
    sweep.quality.add(listed.quality)


def _require_vanished(sweep: SweepContext, folders: list[str]) -> None:
    """Check that folders that a node did not find do not exist on the driver either.

    Raises:
        UserError: A folder exists on the driver, so the node does not share it.
    """
    root = Path(sweep.source.root)
    if not sweep.runner.in_process and any((root / folder).is_dir() for folder in folders):
        raise UserError(not_shared_message(root))
