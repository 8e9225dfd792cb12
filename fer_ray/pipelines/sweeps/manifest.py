"""What a sweep tells of itself: one JSON file in the store."""

import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from fer_ray import __version__
from fer_ray.pipelines.sweeps.context import Sweep
from fer_ray.storage.environment import library_versions, machine
from fer_ray.vocabulary import DESCRIBED, ERRORS, SCHEMA_VERSION


def manifest(sweep: Sweep, final: bool) -> dict[str, Any]:
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
        "quality": sweep.quality.records(),
        "read": record.read,
        "described": record.described,
        "outcomes": dict(record.outcomes),
        "result_commits": record.commits,
        "results_removed": record.orphans,
        "results_waiting": record.orphans_kept,
        "published": record.published,
        "statuses": record.statuses,
        "error_share": round(record.error_share, 6),
        "face_share": record.face_share,
        "classes": dict(record.classes),
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


COMPARED = 5  # sweeps before this one


FACE_FOUND = "face found"


@dataclass(frozen=True)
class Drift:
    """One share.

    Attributes:
        name: What it is the share of: "face found", or a class that the model sees.
        share: Now, 0 … 1.
        before: Its mean over the last sweeps, None if there are none.
        alert: Whether it moved by more than the threshold.
    """

    name: str
    share: float
    before: float | None
    alert: bool


def drift(
    told: dict[str, Any], earlier: Iterable[dict[str, Any]], threshold: float
) -> list[dict[str, Any]]:
    """Each share of a sweep's new contents beside its mean over the last sweeps of the same recipe.

    Sweeps that described nothing are no measure. A change counts where it is beyond the threshold
    and beyond twice the standard error of a share of so few images.

    Args:
        told: The manifest of this sweep.
        earlier: Manifests before it, the newest first.
        threshold: Change of a share that is worth an alert.
    """
    now = shares(told)
    if not now:
        return []
    same = (one for one in earlier if one["finished"] and one["recipe"] == told["recipe"])
    before = list(islice((found for one in same if (found := shares(one))), COMPARED))
    drifts = []
    for name in dict.fromkeys([*now, *(name for one in before for name in one)]):
        share = now.get(name, 0.0)
        known = [one.get(name, 0.0) for one in before]
        mean = sum(known) / len(known) if known else None
        moved = mean is not None and abs(share - mean) > max(threshold, _chance(mean, told))
        drifts.append(asdict(Drift(name, share, mean, moved)))
    return drifts


def shares(told: dict[str, Any]) -> dict[str, float]:
    """Of what a sweep described: the share with a face, and of each class among the answers."""
    seen = _seen(told)
    if not seen:
        return {}
    faces = sum(told["outcomes"].get(status, 0) for status in DESCRIBED)
    total = sum(told["classes"].values())
    classes = {name: count / total for name, count in told["classes"].items()}
    return {FACE_FOUND: faces / seen} | classes


def _seen(told: dict[str, Any]) -> int:
    return sum(count for status, count in told["outcomes"].items() if status not in set(ERRORS))


def _chance(share: float, told: dict[str, Any]) -> float:
    """Twice the standard error; a share of 0 or 1 counts as one image off it."""
    count = _seen(told)
    inner = min(max(share, 1 / (count + 1)), count / (count + 1))
    return float(2 * (inner * (1 - inner) / count) ** 0.5)
