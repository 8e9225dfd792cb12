"""Runs a few short work items in threads of this process, where `runner` would start Ray."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from threadpoolctl import threadpool_limits

from fer_ray.execution.chain import runs_in_process
from fer_ray.execution.progress import Advance
from fer_ray.settings.root import Execution
from fer_ray.storage.environment import available_cpus

MAX_ROWS = 25_000  # trained or tested on by all items together; for more, starting Ray pays off


def runs_locally(execution: Execution, items: int, rows: int | None) -> bool:
    """Return whether work items run without Ray.

    Args:
        execution: The executor.
        items: Number of items.
        rows: Rows that each item trains or tests on. None: items are long.
    """
    if rows is None:
        return execution.executor == "in-process"
    return runs_in_process(execution, items * rows, MAX_ROWS)


def run_items_locally(
    work: Callable[[Any], None], items: list[Any], workers: int | None, advance: Advance
) -> int:
    """Call `work` once with each item, in as many threads as there are workers.

    BLAS uses one thread per call, as in a worker of Ray, so results are the same, bit for bit.

    Args:
        work: Called with an item; stores its results itself.
        items: Any values.
        workers: Items at a time. None: one per CPU.
        advance: Called with 1 for each finished item.

    Returns:
        The number of threads.

    Raises:
        Exception: The first one that `work` raised. Results of finished items are stored.
        KeyboardInterrupt: The job was interrupted. Results of finished items are stored.
    """
    threads = min(workers or available_cpus(), len(items))
    pool = ThreadPoolExecutor(threads)
    try:
        with threadpool_limits(limits=1):
            for finished in as_completed([pool.submit(work, item) for item in items]):
                finished.result()
                advance(1)
    finally:
        pool.shutdown(cancel_futures=True)
    return threads
