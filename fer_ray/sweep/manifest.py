"""What a sweep tells of itself: one JSON file in the store."""

import resource
import sys
import time
from datetime import UTC, datetime
from typing import Any

from fer_ray import __version__
from fer_ray.contracts import SCHEMA_VERSION
from fer_ray.environment import library_versions, machine
from fer_ray.sweep.state import Sweep


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
