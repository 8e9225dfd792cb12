"""Overhead of dispatching blocks, without the work on their images, for `benchmarks.scale`."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from benchmarks.report import Table
from fer_ray.execution.cluster.session import ensure_ray, ray_closed_after
from fer_ray.execution.tasks.task_runner import TaskRunner
from fer_ray.pipelines.extraction.extract import extract
from fer_ray.pipelines.extraction.extraction_plan import plan_extraction
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.root import Execution
from fer_ray.sources.datasets.listing import list_source
from fer_ray.storage.staging import POSITION, StagedRows

BLOCK_IMAGES = 32  # a quarter of the largest block of a long job, so the driver dispatches more
BLOCKS_PER_WAITING_WORKER = 6
EMPTY_BLOCKS = 400  # blocks without work


@dataclass(frozen=True)
class DispatchCost:
    """Overhead of one block.

    Attributes:
        bytes: Size of the block in the object store.
        serialise_seconds: Into the object store and back, in one process.
        pass_seconds: Through Ray, without any work.
        driver_seconds: CPU time of the driver during that pass.
    """

    bytes: int
    serialise_seconds: float
    pass_seconds: float
    driver_seconds: float


def measure_dispatch(data: Path, settings: ExtractSettings, workers: int) -> DispatchCost:
    """Dispatch blocks of listed rows that need no work."""
    rows = list_source(data, settings.selection).table
    rows = rows.take(np.resize(np.arange(rows.num_rows), BLOCK_IMAGES))
    blocks = [rows] * EMPTY_BLOCKS
    with ray_closed_after():
        ensure_ray(Execution(workers=workers))
        started = time.perf_counter()
        for block in blocks:
            ray.get(ray.put(block))
        serialise = time.perf_counter() - started
        for _ in ("starts the workers", "is measured"):
            spent, started = cpu_seconds(), time.perf_counter()
            for _ in run_blocks(count_rows, blocks):
                pass
            seconds = time.perf_counter() - started
        driver = cpu_seconds() - spent
    per_block = (total / EMPTY_BLOCKS for total in (serialise, seconds, driver))
    return DispatchCost(rows.nbytes, *per_block)


def run_blocks(work: Callable[[pa.Table], int], blocks: list[pa.Table]) -> Iterator[int]:
    """Run a function on blocks as extraction does."""
    runner = TaskRunner(Execution(), lambda: False)
    runner.start()
    yield from runner.run(work, iter(blocks))


def count_rows(block: pa.Table) -> int:
    """Return the result of a task without doing its work."""
    return int(block.num_rows)


def cpu_seconds() -> float:
    """CPU time that this process has used so far."""
    spent = psutil.Process().cpu_times()
    return float(spent.user + spent.system)


@dataclass(frozen=True)
class WaitingRun:
    """Blocks processed by workers that sleep instead of working.

    Attributes:
        workers: Number of workers.
        images: Number of images.
        seconds: Duration.
        driver_seconds: CPU time of the driver.
    """

    workers: int
    images: int
    seconds: float
    driver_seconds: float

    @property
    def blocks(self) -> int:
        """Number of tasks."""
        return self.images // BLOCK_IMAGES


def time_waiting_workers(
    data: Path, settings: ExtractSettings, workers: int, image_seconds: float
) -> WaitingRun:
    """Time workers that sleep for `image_seconds` per image, after a pass that starts them."""
    with tempfile.TemporaryDirectory() as folder, ray_closed_after():
        ensure_ray(Execution(workers=workers))
        out = Path(folder, "rows")
        plan = plan_extraction(data, out, settings, fresh=False)
        extract(plan, out, Execution(workers=2), lambda _: None)
        rows = pq.read_table(out / "frames").slice(0, BLOCK_IMAGES)
        wait = partial(sleep_and_write, rows=rows, staged=StagedRows(Path(folder, "staged")))
        seconds = 0.0
        for pause in (0.01, image_seconds):
            count = workers * BLOCKS_PER_WAITING_WORKER
            positions = np.arange(count * rows.num_rows).reshape(count, -1)
            blocks = [pa.table({POSITION: block}) for block in positions]
            spent, started = cpu_seconds(), time.perf_counter()
            for _ in run_blocks(partial(wait, image_seconds=pause), blocks):
                pass
            seconds = time.perf_counter() - started
        return WaitingRun(workers, positions.size, seconds, cpu_seconds() - spent)


def sleep_and_write(
    table: pa.Table, rows: pa.Table, staged: StagedRows, image_seconds: float
) -> int:
    """Sleep for as long as the steps would take, then write as many real rows."""
    time.sleep(image_seconds * table.num_rows)
    staged.write_at(rows.slice(0, table.num_rows), table[POSITION].to_numpy())
    return int(table.num_rows)


def waiting_table(runs: list[WaitingRun], image_seconds: float) -> Table:
    """Throughput of waiting workers, also relative to workers without any overhead."""
    table = Table(
        "waiting workers", "images", "images/s", "relative to no overhead", "driver, ms per block"
    )
    for run in runs:
        limit = run.workers / image_seconds
        rate = run.images / run.seconds
        driver = 1e3 * run.driver_seconds / run.blocks
        cells = (f"{rate:.0f}", f"{rate / limit:.0%}", f"{driver:.1f}")
        table.add(str(run.workers), str(run.images), *cells)
    return table


def dispatch_table(cost: DispatchCost, image_seconds: float) -> Table:
    """Overhead of a block, also relative to the work on its images."""
    table = Table(f"a block of {BLOCK_IMAGES} images", "ms", "relative to its work")
    scheduling = cost.pass_seconds - cost.serialise_seconds
    for name, seconds in (
        ("serialisation, into the object store and back", cost.serialise_seconds),
        ("scheduling, the rest of the pass through Ray", scheduling),
        ("CPU time of the driver for these two", cost.driver_seconds),
        ("its work, one process", BLOCK_IMAGES * image_seconds),
    ):
        share = seconds / (BLOCK_IMAGES * image_seconds)
        table.add(name, f"{1e3 * seconds:.1f}", f"{share:.2%}")
    return table
