"""What a sweep tells of itself: one JSON file in the store."""

import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray import __version__
from fer_ray.contracts import ERRORS, SCHEMA_VERSION, Status
from fer_ray.errors import ExitCode
from fer_ray.job import machine
from fer_ray.sweep.recipe import Recipe
from fer_ray.versions import library_versions

if TYPE_CHECKING:
    from fer_ray.sweep.state import Sweep

SAMPLE_S = 5.0  # between two points of the throughput's course
MOST_SAMPLES = 500  # then every other one is dropped


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
        course: Seconds since the start and images described by then.
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
    read: int = 0
    described: int = 0
    commits: int = 0
    orphans: int = 0
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
        self.described += found.total()
        self.outcomes += found
        now = time.monotonic() - self.clock
        if not self.course or now - self.course[-1][0] >= SAMPLE_S:
            self.course.append([round(now, 1), self.described])
        if len(self.course) > MOST_SAMPLES:
            del self.course[1::2]
        return found

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


def manifest(sweep: "Sweep", final: bool) -> dict[str, Any]:
    """The manifest of a sweep.

    Args:
        sweep: The sweep.
        final: Whether it came to its end; else what the store holds is not told.
    """
    record = sweep.record
    listed = sum(count for kind, (count, _) in record.planned.items() if kind != "gone")
    return {
        "schema_version": SCHEMA_VERSION,
        "fer_ray_version": __version__,
        "sweep": record.sweep,
        "source": record.source,
        "store": record.store,
        "finished": final,
        "exit_code": int(record.exit_code),
        "problem": record.problem,
        "recipe": record.recipe.fingerprint,
        "recipe_content": record.recipe.content,
        "settings": sweep.settings.model_dump(mode="json", include={"sweep", "execution"}),
        "listed": listed,
        "planned": {
            kind: {"images": count, "bytes": size} for kind, (count, size) in record.planned.items()
        },
        "read": record.read,
        "described": record.described,
        "outcomes": dict(record.outcomes),
        "result_commits": record.commits,
        "results_removed": record.orphans,
        "published": record.published,
        "statuses": record.statuses,
        "error_share": round(record.error_share, 6),
        "face_share": record.face_share,
        "classes": sweep.ledger.classes() if final else {},
        "errors": sweep.ledger.examples() if final else [],
        "tables": record.tables,
        "course": record.course,
        "timings": {**record.timings, "total": round(time.monotonic() - record.clock, 3)},
        "workers": record.workers,
        "driver_peak_mib": _peak_mib(),
        "machine": machine(),
        "versions": library_versions(),
        "started": record.started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _peak_mib() -> int:
    """The most memory that this process has held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))
