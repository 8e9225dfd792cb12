"""The manifest of a sweep: one JSON file in the store, with the drift since earlier sweeps."""

import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from fer_ray import __version__
from fer_ray.evaluation.answers import FACE_FOUND, SET_SIZE, answer_figures
from fer_ray.faces.model_paths import describe_models
from fer_ray.pipelines.extraction.face_advice import advise_on_faces
from fer_ray.pipelines.extraction.range_advice import advise_on_ranges
from fer_ray.pipelines.sweeps.context import SweepContext
from fer_ray.storage.environment import library_versions, machine
from fer_ray.vocabulary import ERROR_STATUSES, SCHEMA_VERSION, USABLE_STATUSES

COMPARED_SWEEPS = 5  # earlier sweeps whose mean is compared
MAX_FAILURES = 50  # kinds in a manifest

Manifest = dict[str, Any]


def build_manifest(sweep: SweepContext, finished: bool) -> Manifest:
    """Build the manifest of a sweep, without its drift.

    Args:
        sweep: The sweep.
        finished: Whether the sweep is finished. If not, `errors` and `examples` are empty.
    """
    record = sweep.record
    listed = sum(count for kind, (count, _) in record.planned.items() if kind != "gone")
    return {
        "schema_version": SCHEMA_VERSION,
        "fer_ray_version": __version__,
        "sweep": record.sweep,
        "source": record.source,
        "store": record.store,
        "finished": finished,
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
        "labels_by_emotion": record.by_emotion,
        "class_folders": record.class_folders,
        "read": record.read,
        "described": record.processed,
        "outcomes": dict(record.outcomes),
        "result_commits": record.result_commits,
        "results_removed": record.results_removed,
        "results_waiting": record.results_waiting,
        "published": record.published,
        "statuses": record.statuses,
        "examples": dict(sorted(sweep.files.summary.by_status.items())) if finished else {},
        "error_share": round(record.error_share, 6),
        "face_share": record.face_share,
        "classes": dict(record.classes),
        "answers": dict(record.answers),
        "errors": _failures(sweep) if finished else [],
        "models": describe_models(record.recipe.content["models"]),
        "advice": [
            *advise_on_faces(
                record.outcomes,
                record.small_squares,
                sweep.settings.extract,
                record.recipe.content["bundle"] is not None,
            ),
            *advise_on_ranges(record.ranges, sweep.settings.extract.decode),
        ],
        "tables": record.tables,
        "course": record.throughput,
        "timings": {**record.timings, "total": round(time.monotonic() - record.clock, 3)},
        "workers": record.workers,
        "driver_peak_mib": _peak_mib(),
        "machine": machine(),
        "versions": library_versions(),
        "started": record.started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _failures(sweep: SweepContext) -> list[dict[str, Any]]:
    """Numbers of images that could not be processed by status and error, with example paths."""
    summary = sweep.files.summary
    kinds = sorted(summary.failures, key=lambda kind: (-summary.failures[kind], kind))
    return [
        {
            "status": status,
            "error": error,
            "images": summary.failures[status, error],
            "examples": summary.examples[status, error],
        }
        for status, error in kinds[:MAX_FAILURES]
    ]


def _peak_mib() -> int:
    """Peak memory of this process in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))


@dataclass(frozen=True)
class Drift:
    """The change of one figure since earlier sweeps.

    Attributes:
        name: "face found", "abstained", "unusual face" or a predicted class, which are shares from
            0 to 1; or "classes per set", the mean size of a prediction set.
        share: The figure of this sweep.
        before: Its mean over earlier sweeps; None without earlier sweeps.
        alert: Whether the change exceeds the threshold; never for the mean size of a set, which
            changes together with the share of abstentions.
    """

    name: str
    share: float
    before: float | None
    alert: bool


def measure_drift(
    manifest: Manifest, earlier: Iterable[Manifest], threshold: float
) -> list[dict[str, Any]]:
    """Compare the shares of a sweep with their means over earlier sweeps with the same recipe.

    Sweeps that processed no image are ignored. A change raises an alert if it exceeds the threshold
    and twice the standard error of a share of that many images.

    Args:
        manifest: Manifest of this sweep.
        earlier: Manifests of earlier sweeps, newest first.
        threshold: Smallest change of a share that raises an alert.

    Returns:
        One `Drift` per share, as a dictionary.
    """
    current = measure_shares(manifest)
    if not current:
        return []
    same_recipe = (
        other for other in earlier if other["finished"] and other["recipe"] == manifest["recipe"]
    )
    measured = (shares for other in same_recipe if (shares := measure_shares(other)))
    before = list(islice(measured, COMPARED_SWEEPS))
    drifts = []
    for name in dict.fromkeys([*current, *(name for shares in before for name in shares)]):
        share = current.get(name, 0.0)
        mean = sum(shares.get(name, 0.0) for shares in before) / len(before) if before else None
        alert = mean is not None and _is_alarming(name, share, mean, threshold, manifest)
        drifts.append(asdict(Drift(name, share, mean, alert)))
    return drifts


def _is_alarming(
    name: str, share: float, before: float, threshold: float, manifest: Manifest
) -> bool:
    return name != SET_SIZE and abs(share - before) > max(threshold, _noise(before, manifest))


def measure_shares(manifest: Manifest) -> dict[str, float]:
    """The share of processed contents with a face, and the figures of their predictions."""
    processed = _count_processed(manifest)
    if not processed:
        return {}
    faces = sum(manifest["outcomes"].get(status, 0) for status in USABLE_STATUSES)
    total = sum(manifest["classes"].values())
    classes = {name: count / total for name, count in manifest["classes"].items()}
    answers = answer_figures(manifest.get("answers", {}))
    return {FACE_FOUND: faces / processed} | classes | answers


def _count_processed(manifest: Manifest) -> int:
    return sum(
        count for status, count in manifest["outcomes"].items() if status not in set(ERROR_STATUSES)
    )


def _noise(share: float, manifest: Manifest) -> float:
    """Twice the standard error of a share; shares of 0 and 1 are moved inwards by one image."""
    count = _count_processed(manifest)
    inner = min(max(share, 1 / (count + 1)), count / (count + 1))
    return float(2 * (inner * (1 - inner) / count) ** 0.5)
