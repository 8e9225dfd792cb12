"""The figures of a sweep, updated while it runs."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fer_ray.pipelines.sweeps.block_files import BlockResult
from fer_ray.pipelines.sweeps.planning.store_recipe import StoreRecipe
from fer_ray.vocabulary import ERROR_STATUSES, ExitCode, Status

SAMPLE_S = 5.0  # between two points of the throughput curve
MAX_SAMPLES = 500  # beyond that, every other point is dropped


@dataclass
class SweepRecord:
    """The figures of a sweep, updated while it runs.

    Attributes:
        planned: Number of images and of bytes by kind of work.
        published: Number of rows of `images` written and deleted.
        statuses: Images of the store by status, after publication.
        throughput: Seconds since the start and images processed by then.
        outcomes: Contents processed, by status.
        classes: Contents processed, by the class predicted for the largest face.
        answers: `answers.count_answers` of the largest face of each content processed.
        small_squares: Contents processed that are small squares without a face.
        ranges: Contents processed with an unusual range of values, by mode.
        by_emotion: Labels of each class.
        class_folders: What folders were read as.
        results_removed: Contents whose results were removed because no image used them.
        results_waiting: Contents whose unused results a later sweep removes, since a reader may
            still need them.
    """

    sweep: str
    source: str
    store: str
    recipe: StoreRecipe
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)
    planned: dict[str, tuple[int, int]] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    throughput: list[list[float]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    small_squares: int = 0
    ranges: Counter[str] = field(default_factory=Counter)
    by_emotion: dict[str, int] = field(default_factory=dict)
    class_folders: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0
    processed: int = 0
    result_commits: int = 0
    results_removed: int = 0
    results_waiting: int = 0
    workers: int = 0
    exit_code: int = ExitCode.FAILED
    problem: str | None = None

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Record how long a step takes, even if it fails."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.timings[step] = round(time.monotonic() - started, 3)

    def count_results(self, result: BlockResult) -> None:
        """Add the contents that a task has processed to the figures."""
        self.classes += result.classes
        self.answers.update(result.answers)
        self.small_squares += result.small_squares
        self.ranges += result.ranges
        self.processed += result.statuses.total()
        self.outcomes += result.statuses
        self.sample_throughput()

    def sample_throughput(self) -> None:
        """Add a point to the throughput curve, or move the last one if it is recent."""
        now = time.monotonic() - self.clock
        if len(self.throughput) > 1 and now - self.throughput[-2][0] < SAMPLE_S:
            self.throughput.pop()
        self.throughput.append([round(now, 1), self.processed])
        if len(self.throughput) > MAX_SAMPLES:
            del self.throughput[1:-1:2]

    @property
    def error_share(self) -> float:
        """Share of the store's images that could not be read or processed."""
        total = sum(self.statuses.values())
        return (
            sum(self.statuses.get(status, 0) for status in ERROR_STATUSES) / total if total else 0.0
        )

    @property
    def face_share(self) -> float | None:
        """Share of the processed images that have a face; None without processed images."""
        failed = sum(self.statuses.get(status, 0) for status in ERROR_STATUSES)
        processed = sum(self.statuses.values()) - failed
        with_face = self.statuses.get(Status.OK, 0) + self.statuses.get(Status.OK_BY_BOX, 0)
        return with_face / processed if processed else None
