"""The scratch files of a sweep, which its tasks exchange."""

from collections import Counter
from dataclasses import dataclass, field

from fer_ray.pipelines.sweeps.planning.indexing import TableIndex
from fer_ray.pipelines.sweeps.planning.plan_partition import Samples, Summary
from fer_ray.storage.table_folder import NewFile


@dataclass
class SweepFiles:
    """The files that the tasks of a sweep exchange, and what is in them.

    Attributes:
        listing: Scratch files of the listing, by path.
        labels: Those of labels.csv, by path.
        changes: Those of images that change or are to be processed, by path.
        contents: Those of images whose content is known, by content.
        unread: To-do files of images to read.
        to_process: To-do files of contents without results.
        outcomes: Scratch files of images that were read, by content, for each round.
        failures: Those of images that could not be read, by path.
        settled: Those of images whose content has results, by path.
        results: Those of the keys of results, by content.
        level: Level of the partitions of images.
        images_version: Version of the images that the plan is based on; -1: none.
        results_version: Version of the results that are indexed; -1: none.
        settled_at: Version of the results, and number of rounds, that `settled` is based on.
        touched: Numbers of the partitions whose images may change.
        summaries: Figures of the images of the store, by number of the partition.
        missing: Number of images, by planned kind, whose content has lost its results.
        missing_size: Number of their bytes, by planned kind.
        listed: Number of listed images.
        labelled: How many of them have a label or a subject.
        gone: Paths of some images that are gone.
        known_sample: Random images that were read before.
        unread_sample: Random images to read, with their random numbers.
        todo_sample: Random images to process.
    """

    listing: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    unread: list[NewFile] = field(default_factory=list)
    to_process: list[NewFile] = field(default_factory=list)
    outcomes: list[list[str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    results: TableIndex = field(default_factory=TableIndex)
    level: int = 0
    images_version: int = -1
    results_version: int = -1
    settled_at: tuple[int, int] | None = None
    touched: set[int] = field(default_factory=set)
    summaries: dict[int, Summary] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    missing_size: Counter[str] = field(default_factory=Counter)
    listed: int = 0
    labelled: int = 0
    gone: list[str] = field(default_factory=list)
    known_sample: list[str] = field(default_factory=list)
    unread_sample: Samples = field(default_factory=list)
    todo_sample: list[str] = field(default_factory=list)

    @property
    def summary(self) -> Summary:
        """The figures of all images of the store."""
        total = Summary()
        for summary in self.summaries.values():
            total.add(summary)
        return total

    @property
    def todo(self) -> list[NewFile]:
        """All to-do files."""
        return [*self.unread, *self.to_process]
