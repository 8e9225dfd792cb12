"""What the steps of one sweep share."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import StoppedError
from fer_ray.execution.progress import Progress
from fer_ray.pipelines.sweeps.fuse import Fuse
from fer_ray.pipelines.sweeps.store_recipe import Recipe
from fer_ray.settings.root import Settings
from fer_ray.sources.locations import Source
from fer_ray.sources.quality import Quality
from fer_ray.storage.delta_store import Store
from fer_ray.storage.ledger.ledger import Ledger
from fer_ray.vocabulary import ERRORS, ExitCode, Status


def name_at(moment: datetime) -> str:
    """The name, but for its end, of a sweep that starts at `moment` (UTC): names sort by time."""
    return f"{moment:%Y%m%dT%H%M%SZ}"


@dataclass
class Record:
    """Figures of a sweep as they come.

    Attributes:
        planned: Images and bytes by what was to be done about them.
        published: Rows of `images` put and deleted.
        statuses: Images of the store by status, at the end.
        outcomes: Contents described, by status.
        classes: Likewise, by the class that the model sees in the largest face.
        course: Seconds since the start and images described by then; describing begins at 0.
    """

    sweep: str
    source: str
    store: str
    recipe: Recipe
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.monotonic)
    planned: dict[str, tuple[int, int]] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    course: list[list[float]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    read: int = 0
    described: int = 0
    commits: int = 0
    orphans: int = 0
    orphans_kept: int = 0
    workers: int = 0
    exit_code: int = ExitCode.FAILED
    problem: str | None = None

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note what a step takes, also where it fails."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.timings[step] = round(time.monotonic() - started, 3)

    def note(self, results: pa.Table) -> Counter[str]:
        """Count the images of some results by their outcomes, and give these counts."""
        first = results.filter(pc.equal(results["face_index"], 0))
        found = Counter[str](first["status"].to_pylist())
        if "predicted" in first.column_names:
            self.classes += Counter(filter(None, first["predicted"].to_pylist()))
        self.described += found.total()
        self.outcomes += found
        self.sample()
        return found

    def sample(self) -> None:
        """Note how far it is; the last point moves on until the one before it is old enough."""
        now = time.monotonic() - self.clock
        if len(self.course) > 1 and now - self.course[-2][0] < SAMPLE_S:
            self.course.pop()
        self.course.append([round(now, 1), self.described])
        if len(self.course) > MOST_SAMPLES:
            del self.course[1:-1:2]

    @property
    def error_share(self) -> float:
        """Of all images of the store, those that could not be looked at."""
        total = sum(self.statuses.values())
        return sum(self.statuses.get(status, 0) for status in ERRORS) / total if total else 0.0

    @property
    def face_share(self) -> float | None:
        """Of the images that could be looked at, those with a face; None without any."""
        seen = sum(self.statuses.values()) - sum(self.statuses.get(one, 0) for one in ERRORS)
        faces = self.statuses.get(Status.OK, 0) + self.statuses.get(Status.OK_BY_BOX, 0)
        return faces / seen if seen else None


class Stop:
    """Whether SIGTERM came: a sweep then ends in good order."""

    def __init__(self) -> None:
        self._set = threading.Event()

    def __call__(self) -> bool:
        """Whether it is to end."""
        return self._set.is_set()

    def set(self, *_: object) -> None:
        """Ask the sweep to end; serves as a signal handler."""
        self._set.set()


@dataclass
class Sweep:
    """What the steps of one sweep share."""

    source: Source
    store: Store
    settings: Settings
    recipe: Recipe
    ledger: Ledger
    describe: bytes
    progress: Progress
    record: Record
    schema: pa.Schema  # of results
    fuse: Fuse
    stop: Stop = field(default_factory=Stop)
    quality: Quality = field(default_factory=Quality)  # what is odd about the source

    @property
    def meta(self) -> dict[str, str]:
        """What each commit says of where it comes from."""
        return {"sweep": self.record.sweep, "recipe": self.recipe.fingerprint}

    @property
    def oldest_kept(self) -> str:
        """What names of sweeps within the retention sort after."""
        keep = timedelta(hours=self.settings.sweep.retention_hours)
        return name_at(self.record.started - keep)


def stop_here(sweep: Sweep) -> None:
    """End the sweep here, if it is to end.

    Raises:
        StoppedError: It is.
    """
    if sweep.stop():
        raise StoppedError(
            f"Stopped; {sweep.record.described} images that were finished are committed. The same "
            "command goes on with the rest."
        )


SAMPLE_S = 5.0  # between two points of the throughput's course


MOST_SAMPLES = 500  # then every other one is dropped
