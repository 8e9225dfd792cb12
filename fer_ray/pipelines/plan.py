"""A dry run: what a sweep would do, and what that would cost."""

import os
import time
from typing import Any

from fer_ray.execution.guard import Guard
from fer_ray.pipelines.sweep import look, make_plan
from fer_ray.pipelines.sweeps.context import Sweep
from fer_ray.pipelines.sweeps.prepare import refuse_another_source
from fer_ray.settings.root import Execution

PROBED = 16  # images that are tried
RAY_STARTS_S = 6.0  # until it takes work, on two processors; a cluster runs already
PROBE_SECONDS = 30.0  # or as many as this takes


def estimate(sweep: Sweep) -> dict[str, Any]:
    """Images and bytes by what is to be done, and the time it takes by a short probe.

    The probe reads and describes a few of the images, drawn by chance, in one process. Contents
    that are there twice are found only by reading: until then each image counts.

    Args:
        sweep: One that has not begun (`prepared`); its store need not exist, and is not made.

    Returns:
        Among others `workers`, 0 where the cluster has no processors yet, and `seconds_expected`,
        then None.
    """
    look(sweep)
    sweep.record.planned = planned = make_plan(sweep)
    refuse_another_source(sweep)
    todo = sweep.ledger.count_to_hash() + sweep.ledger.count_to_describe()
    clustered = bool(os.environ.get("RAY_ADDRESS"))
    workers = _workers(sweep.settings.execution, clustered)
    probed = _probe(sweep)
    seconds = todo * probed["seconds_an_image"] if todo else 0.0
    ray_starts = 0.0 if clustered else RAY_STARTS_S
    started = round(ray_starts + probed["seconds_to_start"], 1) if todo else 0.0
    took = started + seconds / workers if workers else None
    return {
        "recipe": sweep.recipe.fingerprint,
        "planned": {kind: {"images": n, "bytes": size} for kind, (n, size) in planned.items()},
        "quality": sweep.quality.records(),
        "images_to_do": todo,
        "probe": probed,
        "core_hours": round(seconds / 3600, 4),
        "workers": workers,
        "seconds_to_start": started,
        "seconds_expected": None if took is None else round(took, 1),
    }


def _probe(sweep: Sweep) -> dict[str, Any]:
    """Seconds that an image takes one process, over a few of those to do."""
    guard = Guard(sweep.describe, sweep.settings.sweep.image_seconds)
    most = sweep.settings.extract.decode.max_bytes
    done, began, started = 0, time.monotonic(), 0.0
    try:
        for path in sweep.ledger.some_to_do(PROBED):
            try:
                content = sweep.source.read(path, most)
            except OSError:
                continue
            if len(content) > most:
                continue
            if not started:  # the first one loads the models
                guard(content)
                started = time.monotonic()
            guard(content)
            done += 1
            if done == PROBED or time.monotonic() - started > PROBE_SECONDS:
                break
    finally:
        guard.close()
    seconds = (time.monotonic() - started) / done if done else 0.0
    return {
        "images": done,
        "seconds_an_image": round(seconds, 4),
        "seconds_to_start": round(started - began, 1) if done else 0.0,
    }


def _workers(execution: Execution, clustered: bool) -> int:
    if not clustered:
        return execution.workers or _processors()
    from fer_ray.execution.resources import CPU, there
    from fer_ray.execution.session import start_ray

    start_ray(execution)
    processors = int(there(CPU))
    return min(processors, execution.workers or processors)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
