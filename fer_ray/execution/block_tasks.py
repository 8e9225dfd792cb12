"""Blocks of images as Ray tasks, for sweeps: one task per block, results as they finish."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.exceptions import GetTimeoutError, RayTaskError

from fer_ray.execution.claims import Claims
from fer_ray.execution.resources import CPU, ResourceWait, cluster_total, cpu_share

POLL_S = 0.5  # between two checks whether to stop
FINISH_S = 10.0  # for running tasks to finish after a stop
LOSSES = 5  # retries of a block whose worker or node is lost
BLOCKS_PER_WORKER = 2  # one running, one waiting


def run_blocks(
    work: Callable[[pa.Table], Any],
    blocks: Iterator[pa.Table],
    workers: int | None,
    stopped: Callable[[], bool],
    lost: Callable[[pa.Table], Any],
    stopping: Callable[[], None],
) -> Iterator[Any]:
    """Run `work` on each block and yield its results, in any order.

    A block is retried if its worker dies. If its workers keep dying it is split into single images,
    and an image whose workers keep dying is passed to `lost`, so the loop always ends.

    Args:
        work: A picklable function of a block.
        blocks: Consumed one by one, so that few are in memory.
        workers: Tasks at a time. None: as many as the cluster has CPUs, even as it grows.
        stopped: Checked regularly; no more blocks are started once it returns True.
        lost: Result of a block with one image that no worker survives.
        stopping: Called after `stopped` returns True and before running tasks are awaited, since
            the process that stops the job may not wait that long.

    Raises:
        UserError: The cluster has had no CPUs for too long.
        Exception: Raised by `work`.
    """

    def call_work(block: pa.Table) -> Any:  # Ray accepts functions, but not partial objects
        return work(block)

    task = ray.remote(num_cpus=cpu_share(), max_retries=LOSSES)(call_work)
    pending: dict[Any, pa.Table] = {}
    single_images: deque[pa.Table] = deque()
    wait = ResourceWait()
    try:
        while True:
            while not stopped() and len(pending) < _most_pending(workers):
                block = single_images.popleft() if single_images else next(blocks, None)
                if block is None:
                    break
                pending[task.remote(block)] = block
            if not pending:
                return
            if stopped():
                stopping()
                yield from _finish(pending)
                return
            wait.check()
            done, _ = ray.wait(list(pending), timeout=POLL_S)
            for reference in done:
                block = pending.pop(reference)
                try:
                    yield ray.get(reference)
                except RayTaskError as problem:
                    raise problem.cause from None
                except ray.exceptions.RayError:
                    if block.num_rows == 1:
                        yield lost(block)
                    else:
                        single_images.extend(block.slice(row, 1) for row in range(block.num_rows))
    finally:
        for reference in pending:
            ray.cancel(reference)  # without force: Ray would end this process at exit


def start_claims(known: NDArray[np.uint64] | None) -> "partial[bool]":
    """Start `Claims` in an actor; the returned function claims contents from any node."""
    actor = ray.remote(num_cpus=0)(Claims).remote(known)
    return partial(_claim, actor)


def stop_claims(claim: "partial[bool]") -> None:
    """End the actor of `start_claims`; tasks refer to it, so Ray would not end it before exit."""
    with suppress(ray.exceptions.RayError):
        ray.kill(claim.args[0])


def _claim(actor: Any, owner: str, content: str) -> bool:
    try:  # while `ray.get` waits, it would give the task's CPU to another task
        return bool(actor.claim.remote(owner, content).future().result())
    except ray.exceptions.RayActorError:  # lost with its node; a later round describes the rest
        return False


def _most_pending(workers: int | None) -> int:
    cpus = int(cluster_total(CPU))
    return BLOCKS_PER_WORKER * max(1, min(cpus, workers or cpus))


def _finish(pending: dict[Any, pa.Table]) -> Iterator[Any]:
    """Results that arrive within `FINISH_S`."""
    deadline = time.monotonic() + FINISH_S
    done, _ = ray.wait(list(pending), num_returns=len(pending), timeout=FINISH_S)
    for reference in done:
        try:
            yield ray.get(reference, timeout=max(0.1, deadline - time.monotonic()))
        except (ray.exceptions.RayError, GetTimeoutError):
            continue
        finally:
            pending.pop(reference)
