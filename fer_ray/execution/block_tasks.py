"""Blocks of images to tasks on Ray, and their answers back as they come. All of a sweep's Ray."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.exceptions import GetTimeoutError, RayTaskError

from fer_ray.execution.claims import Claim, Claims
from fer_ray.execution.resources import CPU, Patience, processor_share, there

LOOK_S = 0.5  # how often it is asked whether to stop
FINISH_S = 10.0  # what tasks under way are given to end, once told to stop
LOSSES = 5  # of its worker or node, that a block survives
BLOCKS_PER_WORKER = 2  # under way: one in work, one waiting


def run_blocks(
    work: Callable[[pa.Table], Any],
    blocks: Iterator[pa.Table],
    workers: int | None,
    stopped: Callable[[], bool],
    lost: Callable[[pa.Table], Any],
    stopping: Callable[[], None],
) -> Iterator[Any]:
    """Run `work` on each block, and give what it returns, in any order.

    A block whose worker dies is done again elsewhere; one whose workers keep dying is done again
    image by image, and an image whose workers keep dying is given to `lost`. So it ends.

    Args:
        work: A picklable function of a block.
        blocks: Taken one by one, so that few are held.
        workers: Tasks at a time. None: as many as the cluster has processors, also as it grows.
        stopped: Asked now and then; once true no more blocks are begun.
        lost: What to give for a block of one image that no worker survives.
        stopping: Called once `stopped` is true, before tasks under way are waited for: who stopped
            the job may not wait as long.

    Raises:
        UserError: The cluster has had no processors for too long.
        Exception: What `work` raised.
    """

    def answer(block: pa.Table) -> Any:  # Ray takes functions, and no partial ones
        return work(block)

    task = ray.remote(num_cpus=processor_share(), max_retries=LOSSES)(answer)
    pending: dict[Any, pa.Table] = {}
    again: deque[pa.Table] = deque()
    patience = Patience()
    try:
        while True:
            while not stopped() and len(pending) < _most(workers):
                block = again.popleft() if again else next(blocks, None)
                if block is None:
                    break
                pending[task.remote(block)] = block
            if not pending:
                return
            if stopped():
                stopping()
                yield from _finished(pending)
                return
            patience.check()
            done, _ = ray.wait(list(pending), timeout=LOOK_S)
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
                        again.extend(block.slice(row, 1) for row in range(block.num_rows))
    finally:
        for reference in pending:
            ray.cancel(reference)  # by force, and as it ends, Ray would end this process


def asking(known: NDArray[np.uint64] | None) -> Claim:
    """What tells each block's contents that are new, on whatever node it is asked."""
    keeper = ray.remote(num_cpus=0)(Claims).remote(known)
    return partial(_ask, keeper)


def _ask(keeper: Any, owner: str, content: str) -> bool:
    try:  # `ray.get` would give the task's processor to another task while it waits
        return bool(keeper.claim.remote(owner, content).future().result())
    except ray.exceptions.RayActorError:  # lost with its node: a later round describes the rest
        return False


def _most(workers: int | None) -> int:
    processors = int(there(CPU))
    return BLOCKS_PER_WORKER * max(1, min(processors, workers or processors))


def _finished(pending: dict[Any, pa.Table]) -> Iterator[Any]:
    """The answers that still come within a few seconds."""
    deadline = time.monotonic() + FINISH_S
    done, _ = ray.wait(list(pending), num_returns=len(pending), timeout=FINISH_S)
    for reference in done:
        try:
            yield ray.get(reference, timeout=max(0.1, deadline - time.monotonic()))
        except (ray.exceptions.RayError, GetTimeoutError):
            continue
        finally:
            pending.pop(reference)
