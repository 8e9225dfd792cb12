"""The request for a sweep, and the state that its steps share."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import StoppedError
from fer_ray.execution.guard import Describe
from fer_ray.execution.progress import Progress, silent
from fer_ray.models.bundles.backbone_features import WeightOverrides
from fer_ray.pipelines.sweeps.fuse import Fuse
from fer_ray.pipelines.sweeps.store_recipe import StoreRecipe
from fer_ray.settings.root import Settings
from fer_ray.sources.quality import Quality
from fer_ray.sources.streams.image_source import Source
from fer_ray.storage.delta_store import Store
from fer_ray.storage.ledger.ledger import Ledger
from fer_ray.vocabulary import ERROR_STATUSES, ExitCode, Status

SAMPLE_S = 5.0  # between two points of the throughput curve
MAX_SAMPLES = 500  # beyond that, every other point is dropped


class StopFlag:
    """A flag that asks a sweep to stop after the blocks that are running; SIGTERM sets it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        """Return whether the sweep should stop."""
        return self._event.is_set()

    def set(self, *_: object) -> None:
        """Set the flag. The arguments of a signal handler are accepted and ignored."""
        self._event.set()


@dataclass(frozen=True)
class SweepRequest:
    """What to sweep, where the results go, and with which settings.

    Attributes:
        source: Path or URI of the images.
        store: Path or URI of the store; it is created if it does not exist.
        settings: Extraction settings, which define the rows, and the policies of `sweep`.
        progress: Progress display.
        model: Model bundle that adds predictions. Its extraction settings replace those of
            `settings`. None: the rows have no predictions.
        weights: Weight files by backbone of the bundle; a backbone without one uses the default.
        describe: Turns the bytes of an image into rows. None: the extraction steps.
        stop: Stops the sweep once set. None: only SIGTERM stops it.
    """

    source: str
    store: str
    settings: Settings
    progress: Progress = silent
    model: Path | None = None
    weights: WeightOverrides = ()
    describe: Describe | None = None
    stop: StopFlag | None = None


@dataclass
class SweepRecord:
    """The figures of a sweep, updated while it runs.

    Attributes:
        planned: Number of images and of bytes by kind of work.
        published: Number of rows of `images` written and deleted.
        statuses: Images of the store by status, after publication.
        throughput: Seconds since the start and images described by then.
        outcomes: Contents described, by status.
        classes: Contents described, by the class predicted for the largest face.
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
    read: int = 0
    described: int = 0
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

    def count_results(self, results: pa.Table) -> Counter[str]:
        """Add the contents of `results` to the figures.

        Returns:
            The number of these contents by status.
        """
        first_faces = results.filter(pc.equal(results["face_index"], 0))
        counts = Counter[str](first_faces["status"].to_pylist())
        if "predicted" in first_faces.column_names:
            self.classes += Counter(filter(None, first_faces["predicted"].to_pylist()))
        self.described += counts.total()
        self.outcomes += counts
        self.sample_throughput()
        return counts

    def sample_throughput(self) -> None:
        """Add a point to the throughput curve, or move the last one if it is recent."""
        now = time.monotonic() - self.clock
        if len(self.throughput) > 1 and now - self.throughput[-2][0] < SAMPLE_S:
            self.throughput.pop()
        self.throughput.append([round(now, 1), self.described])
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


@dataclass
class SweepContext:
    """The state that the steps of one sweep share.

    Attributes:
        describe: The pickled function that turns the bytes of an image into rows.
        schema: Schema of the rows of `results`.
        quality: Irregularities of the source.
        in_process: Whether images are processed without Ray.
    """

    source: Source
    store: Store
    settings: Settings
    recipe: StoreRecipe
    ledger: Ledger
    describe: bytes
    progress: Progress
    record: SweepRecord
    schema: pa.Schema
    fuse: Fuse
    stop: StopFlag = field(default_factory=StopFlag)
    quality: Quality = field(default_factory=Quality)
    in_process: bool = False

    @property
    def commit_metadata(self) -> dict[str, str]:
        """The metadata that each commit of this sweep carries."""
        return {"sweep": self.record.sweep, "recipe": self.recipe.fingerprint}

    @property
    def retention_start(self) -> str:
        """A sweep name; names that sort before it are of sweeps older than the retention."""
        retention = timedelta(hours=self.settings.sweep.retention_hours)
        return name_prefix(self.record.started - retention)


def name_prefix(started: datetime) -> str:
    """The beginning of the name of a sweep that starts at `started` (UTC); names sort by time."""
    return f"{started:%Y%m%dT%H%M%S}.{started.microsecond // 1000:03}Z"


def raise_if_stopped(sweep: SweepContext) -> None:
    """Stop the sweep here if its stop flag is set.

    Raises:
        StoppedError: The flag is set.
    """
    if sweep.stop():
        raise StoppedError(
            f"Stopped. The results of {sweep.record.described} images are committed. Rerun the "
            "same command to resume."
        )
