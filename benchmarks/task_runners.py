"""Two ways to run tasks on Ray, on what jobs need: `fer_ray.execution.tasks.block_tasks`, Ray Data.

The same functions run on the same items: items without any work, an item whose worker always dies,
a node that is killed with its items, a node that joins, and a stop. Ray Data runs
`range(n).map_batches` with one row per task, as each item is the unit of retrying.

    python -m benchmarks.task_runners
"""

import argparse
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pyarrow as pa

from benchmarks.report import Table, write_result
from benchmarks.simulated_cluster import add_node, start_cluster
from fer_ray.execution.cluster.session import start_ray
from fer_ray.settings.root import Execution

EMPTY_ITEMS = (1_000, 10_000)
ITEM_S = 1.0  # work of an item where a node is lost or joins, or the job stops
DISTURBED_AFTER = 6  # results, when a node is killed and another one joins
LIMIT_S = 60.0  # after which an item whose worker always dies is given up
Work = Callable[[int], tuple[int, str]]


def run_with_tasks(
    work: Work, items: int, stopped: Callable[[], bool]
) -> Iterator[tuple[int, str]]:
    """Run a function on numbers with `run_tasks`."""
    from fer_ray.execution.tasks.block_tasks import run_tasks

    yield from run_tasks(
        work, iter(range(items)), None, stopped, lambda item: [item], lambda item: (item, "lost"),
        _raise_stopped,
    )  # fmt: skip


def run_with_data(work: Work, items: int, stopped: Callable[[], bool]) -> Iterator[tuple[int, str]]:
    """Run a function on numbers with Ray Data."""
    import ray
    from ray.data import TaskPoolStrategy

    def on_batch(batch: pa.Table) -> pa.Table:
        number, result = work(batch["id"][0].as_py())
        return pa.table({"number": [number], "result": [result]})

    data = ray.data.range(items, override_num_blocks=items).map_batches(
        on_batch, batch_size=None, batch_format="pyarrow", compute=TaskPoolStrategy(), num_cpus=1
    )
    for batch in data.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
        if stopped():
            _raise_stopped()


class _StoppedError(Exception):
    """The job was stopped."""


def _raise_stopped() -> None:
    raise _StoppedError


RUNNERS = {"block_tasks": run_with_tasks, "Ray Data": run_with_data}


def do_nothing(item: int) -> tuple[int, str]:
    """No work."""
    return item, ""


def wait(item: int) -> tuple[int, str]:
    """Some work; the result is the node that did it."""
    import ray

    time.sleep(ITEM_S)
    return item, str(ray.get_runtime_context().get_node_id())


def die_on_three(item: int) -> tuple[int, str]:
    """Kills its worker on one item."""
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item, "done"


@dataclass(frozen=True)
class Cell:
    """A measurement as text, for one row of the table."""

    name: str
    value: str


def measure_overhead(run: Any) -> Iterator[Cell]:
    """Time items without work, and the memory of the driver that they add."""
    list(run(do_nothing, 50, lambda: False))  # workers start
    for items in EMPTY_ITEMS:
        gc.collect()
        process, started = psutil.Process(), time.perf_counter()
        before = process.memory_info().rss
        first, done = 0.0, 0
        for _ in run(do_nothing, items, lambda: False):
            first, done = first or time.perf_counter() - started, done + 1
        assert done == items
        seconds = time.perf_counter() - started
        memory = (process.memory_info().rss - before) / 2**20
        yield Cell(f"{items:,} items without work: until the first result, s", f"{first:.2f}")
        yield Cell(f"{items:,} items without work: ms per item", f"{1e3 * seconds / items:.2f}")
        yield Cell(f"{items:,} items without work: driver grows by, MiB", f"{memory:.0f}")


def measure_death(run: Any) -> Cell:
    """Run ten items, on one of which the worker always dies."""
    results: list[tuple[int, str]] = []
    over, started = threading.Event(), time.monotonic()

    def consume() -> None:
        results.extend(run(die_on_three, 10, lambda: False))
        over.set()

    threading.Thread(target=consume, daemon=True).start()
    name = "an item whose worker always dies"
    if not over.wait(LIMIT_S):
        return Cell(name, f"no end within {LIMIT_S:.0f} s")
    outcome = dict(results)[3]
    others = sum(result == "done" for _, result in results)
    return Cell(name, f"{outcome} after {time.monotonic() - started:.0f} s, {others} others done")


def measure_stop(run: Any) -> Cell:
    """Stop a job of many items after three seconds."""
    stop = threading.Event()
    threading.Timer(3, stop.set).start()
    try:
        for _ in run(wait, 200, stop.is_set):
            pass
    except _StoppedError:
        stopped = time.monotonic()
    del run
    gc.collect()
    return Cell("from a stop to the next free worker, s", f"{_wait_for_worker(stopped):.1f}")


def _wait_for_worker(since: float) -> float:
    import ray

    ray.get(ray.remote(num_cpus=1)(do_nothing).remote(0))
    return time.monotonic() - since


def measure_nodes(run: Any, cluster: Any) -> Iterator[Cell]:
    """Kill a node with its items, and let one join, while items run."""
    lost = add_node(cluster)
    results: dict[int, str] = {}
    count = 0
    for number, node in run(wait, 40, lambda: False):
        results[number], count = node, count + 1
        if count == DISTURBED_AFTER:
            cluster.remove_node(lost, allow_graceful=False)
            joined = add_node(cluster).node_id
    on_new = sum(node == joined for node in results.values())
    yield Cell("a node is lost: items with a result, of 40", f"{len(results)} ({count} results)")
    yield Cell("a node joins: items that it processes", str(on_new))


def main() -> None:
    """Measure, print and write the table."""
    argparse.ArgumentParser(description="Two ways to run tasks on Ray").parse_args()
    cluster = start_cluster()  # before the first import of Ray
    import ray
    from ray.data import DataContext

    os.environ["RAY_ADDRESS"] = cluster.address
    for _ in range(2):
        add_node(cluster)
    start_ray(Execution())
    DataContext.get_current().execution_options.preserve_order = False
    cells: dict[str, list[Cell]] = {}
    for name, run in RUNNERS.items():
        cells[name] = [*measure_overhead(run), *measure_nodes(run, cluster), measure_stop(run)]
    for name, run in RUNNERS.items():  # last, since it may not end
        cells[name].append(measure_death(run))
    table = Table("", *RUNNERS)
    for row in zip(*cells.values(), strict=True):
        table.add(row[0].name, *(cell.value for cell in row))
    protocol = (
        "Nodes with one CPU each, simulated on one machine: two, and one that is killed after "
        f"{DISTURBED_AFTER} results; an item takes {ITEM_S:.0f} s there and where the job is "
        f"stopped. Load {os.getloadavg()[0]:.1f} at the end."
    )
    write_result("task-runners", protocol, table)
    ray.shutdown()
    cluster.shutdown()
    os._exit(0)  # a thread may still wait for Ray Data


if __name__ == "__main__":
    main()
