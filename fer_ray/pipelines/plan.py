"""A dry run of a sweep: the work to do, and an estimate of its cost from a short probe."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from fer_ray.execution.chain import runs_in_process
from fer_ray.execution.guard import Guard
from fer_ray.execution.guarded_batches import BATCH_IMAGES, process_guarded
from fer_ray.pipelines.sweeps.context import SweepContext, SweepRequest
from fer_ray.pipelines.sweeps.planning.labelled_listing import list_source
from fer_ray.pipelines.sweeps.planning.plan_work import plan_work, require_intact_source
from fer_ray.pipelines.sweeps.planning.prepare import prepare_sweep
from fer_ray.settings.root import Execution
from fer_ray.storage.environment import available_cpus

MAX_PROBED = 16  # images
MAX_PROBE_S = 30.0  # after which no further batch is probed
RAY_START_S = 6.0  # on two CPUs, until the first task runs; a cluster is already running


def plan_sweep(request: SweepRequest) -> dict[str, Any]:
    """Count the images and bytes that a sweep would process, and estimate its duration.

    A few images, sampled at random, are read and processed in one process. Duplicate contents are
    only found by reading, so each image counts as work. The store is neither changed nor created.

    Returns:
        `planned` by kind of work, `core_hours` and, among others, `workers`, which is 0 if the
        cluster has no CPUs yet, and `seconds_expected`, which then is None.
    """
    with prepare_sweep(_in_process(request)) as sweep:
        return _estimate(sweep, request.settings.execution)


def _in_process(request: SweepRequest) -> SweepRequest:
    """The same request in this process: tasks on other machines would write to the store."""
    execution = request.settings.execution.model_copy(update={"executor": "in-process"})
    settings = request.settings.model_copy(update={"execution": execution})
    return replace(request, settings=settings)


def _estimate(sweep: SweepContext, execution: Execution) -> dict[str, Any]:
    list_source(sweep)
    sweep.record.planned = planned = plan_work(sweep)
    require_intact_source(sweep)
    todo = sum(file.rows for file in sweep.files.todo)
    on_cluster = bool(os.environ.get("RAY_ADDRESS"))
    workers = _count_workers(execution, on_cluster)
    probe = _probe(sweep)
    work_s = todo * probe["seconds_an_image"] if todo else 0.0
    starts_ray = not (on_cluster or runs_in_process(execution, todo))
    ray_start_s = RAY_START_S if starts_ray else 0.0
    start_s = round(ray_start_s + probe["seconds_to_start"], 1) if todo else 0.0
    return {
        "recipe": sweep.recipe.fingerprint,
        "planned": {kind: {"images": n, "bytes": size} for kind, (n, size) in planned.items()},
        "quality": sweep.quality.records(),
        "images_to_do": todo,
        "probe": probe,
        "core_hours": round(work_s / 3600, 4),
        "workers": workers,
        "seconds_to_start": start_s,
        "seconds_expected": round(start_s + work_s / workers, 1) if workers else None,
    }


def _probe(sweep: SweepContext) -> dict[str, Any]:
    """Measure the seconds per image of one process, over a few of the images to process."""
    guard = Guard(sweep.steps, sweep.settings.execution.image_seconds)
    contents, done, began, started = _sample_contents(sweep), 0, time.monotonic(), 0.0
    try:
        while batch := list(islice(contents, BATCH_IMAGES)):
            if not started:  # the first image also loads the models
                guard(batch[:1])
                started = time.monotonic()
            process_guarded(guard, batch, attempts=1)
            done += len(batch)
            if time.monotonic() - started > MAX_PROBE_S:
                break
    finally:
        guard.close()
    seconds = (time.monotonic() - started) / done if done else 0.0
    return {
        "images": done,
        "seconds_an_image": round(seconds, 4),
        "seconds_to_start": round(started - began, 1) if done else 0.0,
    }


def _sample_contents(sweep: SweepContext) -> Iterator[bytes]:
    """The contents of a few of the images to process, without those that are skipped."""
    max_bytes = sweep.settings.extract.decode.max_bytes
    for path in sweep.files.todo_sample[:MAX_PROBED]:
        try:
            content = sweep.source.read(path, max_bytes)
        except OSError:
            continue
        if len(content) <= max_bytes:
            yield content


def _count_workers(execution: Execution, on_cluster: bool) -> int:
    if not on_cluster:
        return execution.workers or available_cpus()
    from fer_ray.execution.cluster.resources import CPU, cluster_total
    from fer_ray.execution.cluster.session import start_ray

    start_ray(execution)
    cpus = int(cluster_total(CPU))
    return min(cpus, execution.workers or cpus)
