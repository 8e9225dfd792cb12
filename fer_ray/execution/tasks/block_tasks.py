"""Work items as Ray tasks: one task per item, results as they finish."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import GetTimeoutError, RayTaskError

from fer_ray.execution.cluster.node_versions import own_versions
from fer_ray.execution.cluster.resources import CPU, ResourceWait, cluster_total, cpu_share

POLL_S = 0.5  # between two checks whether to stop
FINISH_S = 10.0  # for running tasks to finish after a stop
LOSSES = 5  # retries of an item whose worker or node is lost
ITEMS_PER_WORKER = 2  # one running, one waiting


def run_tasks(
    work: Callable[[Any], Any],
    items: Iterator[Any],
    workers: int | None,
    stopped: Callable[[], bool],
    split: Callable[[Any], list[Any]],
    lost: Callable[[Any], Any],
    stopping: Callable[[], None],
) -> Iterator[Any]:
    """Run `work` on each item and yield its results, in any order.

    An item is retried if its worker dies. If its workers keep dying it is split, and a part whose
    workers keep dying is passed to `lost`, so the loop always ends.

    Args:
        work: A picklable function of an item.
        items: Consumed one by one, so that few are in memory. It may end and yield further items
            after results have been processed.
        workers: Tasks at a time. None: as many as the cluster has CPUs, even as it grows.
        stopped: Checked regularly; no more items are started once it returns True.
        split: Divides an item; a single part cannot be divided.
        lost: Result of a part that no worker survives.
        stopping: Called after `stopped` returns True and before running tasks are awaited, since
            the process that stops the job may not wait that long.

    Raises:
        UserError: The cluster has had no CPUs for too long, or a node has other versions.
        Exception: Raised by `work`.
    """
    versions, pickled = own_versions(), cloudpickle.dumps(work)
    loaded: list[Callable[[Any], Any]] = []  # in each worker, `work` for all of its items

    def call_work(item: Any) -> Any:
        if not loaded:
            # Versions are compared before modules are imported that another one may not have.
            from fer_ray.execution.cluster.node_versions import require_same_versions

            require_same_versions(versions)
            loaded.append(cloudpickle.loads(pickled))
        return loaded[0](item)

    task = ray.remote(num_cpus=cpu_share(), max_retries=LOSSES)(call_work)
    pending: dict[Any, Any] = {}
    parts: deque[Any] = deque()
    wait, slots = ResourceWait(), _Slots(workers)
    try:
        while True:
            while not stopped() and len(pending) < slots.count():
                item = parts.popleft() if parts else next(items, None)
                if item is None:
                    break
                pending[task.remote(item)] = item
            if not pending:
                return
            if stopped():
                stopping()
                yield from _finish(pending)
                return
            wait.check()
            done, _ = ray.wait(list(pending), timeout=POLL_S)
            for reference in done:
                item = pending.pop(reference)
                try:
                    yield ray.get(reference)
                except RayTaskError as problem:
                    raise problem.cause from None
                except ray.exceptions.RayError:
                    divided = split(item)
                    if len(divided) == 1:
                        yield lost(item)
                    parts += divided if len(divided) > 1 else []
    finally:
        for reference in pending:
            ray.cancel(reference)  # without force: Ray would end this process at exit


class _Slots:
    """The number of items that may run or wait, given the current CPUs of the cluster."""

    def __init__(self, workers: int | None) -> None:
        self._workers, self._cpus, self._checked = workers, 0, float("-inf")

    def count(self) -> int:
        """The number of items; growth of the cluster is noticed within `POLL_S`."""
        if time.monotonic() - self._checked > POLL_S:
            self._cpus, self._checked = int(cluster_total(CPU)), time.monotonic()
        return ITEMS_PER_WORKER * max(1, min(self._cpus, self._workers or self._cpus))


def _finish(pending: dict[Any, Any]) -> Iterator[Any]:
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
