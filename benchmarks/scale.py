"""How throughput grows with workers, and where the time goes.

Extracts the same images with 1 … N workers and two block sizes, and times the steps of one process
apart from Ray. From these it fits what a job costs besides the work itself:

    seconds = start + work · images / workers + block · blocks / workers

    python -m benchmarks.scale --data corpus --workers 1 2 --waiting 8 16 32

With RAY_ADDRESS set it measures that cluster, whose nodes may be simulated on one machine.

`--waiting` asks how many workers one driver can feed, on a machine that has fewer processors: the
same blocks go through Ray Data to so many workers, which wait for as long as the steps would take
and then keep real rows. What they lose is the driver's, the scheduler's and the storage's doing.
"""

import argparse
import os
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

from benchmarks.report import Table, write_result
from fer_ray.config import Execution, ExtractSettings, Selection
from fer_ray.data.listing import list_source
from fer_ray.data.store import StagedRows, write_table
from fer_ray.extract import extract, plan
from fer_ray.features import steps
from fer_ray.pipeline import POSITION, keep_rows, schema
from fer_ray.runtime import ensure_ray, ray_closed_after

BLOCK_IMAGES = (4, 32)
WAITING_BLOCK_IMAGES = 32  # a quarter of the largest block of a long job: more of them to feed
WAITING_BLOCKS = 6  # of each waiting worker
SAMPLE = 48  # images that the steps are timed on, one process, no Ray
SETTINGS = ExtractSettings(selection=Selection(frames="all"))


@dataclass(frozen=True)
class Run:
    """One extraction by workers that are warm."""

    workers: int
    block_images: int
    images: int
    seconds: float

    @property
    def blocks(self) -> int:
        """Number of tasks."""
        return -(-self.images // self.block_images)


def time_steps(data: Path) -> dict[str, float]:
    """Seconds an image of each step, in one process."""
    listing = list_source(data, SETTINGS.selection)
    root = listing.root
    chain: dict[str, Callable[[pa.Table], pa.Table]] = {
        "read and decode": partial(steps.decode, root=root, limits=SETTINGS.decode),
        "faces (OpenCV)": partial(steps.crop, settings=SETTINGS.crop),
        "landmarks (dlib)": partial(
            steps.landmarks, settings=SETTINGS.landmarks, size_px=SETTINGS.crop.size_px
        ),
        "features": partial(
            steps.features, sets=SETTINGS.features.sets, size_px=SETTINGS.crop.size_px
        ),
    }
    table = listing.table.slice(0, SAMPLE)
    for step in chain.values():  # models are loaded here
        table = step(table)
    table, seconds = listing.table.slice(0, SAMPLE), {}
    for name, step in chain.items():
        started = time.perf_counter()
        table = step(table)
        seconds[name] = (time.perf_counter() - started) / table.num_rows
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        rows = table.select(schema(SETTINGS).names).cast(schema(SETTINGS))
        write_table(rows, Path(folder, "rows.parquet"))
        seconds["write"] = (time.perf_counter() - started) / table.num_rows
    return seconds


def time_runs(data: Path, workers: int) -> Iterator[Run]:
    """Extractions by so many workers at a time, after one that warms them up."""
    with ray_closed_after():
        ensure_ray(Execution(workers=workers))
        for warm, block_images in ((False, BLOCK_IMAGES[0]), *((True, n) for n in BLOCK_IMAGES)):
            with tempfile.TemporaryDirectory() as folder:
                planned = plan(data, Path(folder), SETTINGS, fresh=False)
                execution = Execution(workers=workers, block_images=block_images)
                started = time.perf_counter()
                extract(planned, Path(folder), execution, lambda _: None)
                seconds = time.perf_counter() - started
            if warm:
                yield Run(workers, block_images, planned.listing.table.num_rows, seconds)


@dataclass(frozen=True)
class Waiting:
    """Blocks put through workers that wait in place of work."""

    workers: int
    images: int
    seconds: float
    driver_seconds: float  # of processor time

    @property
    def blocks(self) -> int:
        """Number of tasks."""
        return self.images // WAITING_BLOCK_IMAGES


def time_waiting(data: Path, workers: int, image_seconds: float) -> Waiting:
    """So many workers that wait, after a pass that starts them."""
    with tempfile.TemporaryDirectory() as folder, ray_closed_after():
        ensure_ray(Execution(workers=workers))
        out = Path(folder, "rows")
        extract(plan(data, out, SETTINGS, fresh=False), out, Execution(workers=2), lambda _: None)
        rows = pq.read_table(out / "frames").slice(0, WAITING_BLOCK_IMAGES)
        wait = partial(wait_and_keep, rows=rows, staged=StagedRows(Path(folder, "kept")))
        seconds = 0.0
        for pause in (0.01, image_seconds):
            count = workers * WAITING_BLOCKS
            positions = np.arange(count * rows.num_rows).reshape(count, -1)
            blocks = [pa.table({POSITION: block}) for block in positions]
            spent, started = psutil.Process().cpu_times(), time.perf_counter()
            receipts = ray.data.from_blocks(blocks).map_batches(
                partial(wait, image_seconds=pause),
                batch_format="pyarrow",
                batch_size=rows.num_rows,
            )
            for _ in receipts.iter_batches(batch_size=None, batch_format="pyarrow"):
                pass
            seconds = time.perf_counter() - started
        now = psutil.Process().cpu_times()
        driver = now.user + now.system - spent.user - spent.system
        return Waiting(workers, positions.size, seconds, driver)


def wait_and_keep(
    table: pa.Table, rows: pa.Table, staged: StagedRows, image_seconds: float
) -> pa.Table:
    """Wait as long as the steps would take, then keep as many real rows."""
    time.sleep(image_seconds * table.num_rows)
    return keep_rows(rows.slice(0, table.num_rows), table[POSITION].to_numpy(), staged)


def waiting_table(found: list[Waiting], image_seconds: float) -> Table:
    """What came of it, beside what workers alone would make."""
    table = Table(
        "waiting workers", "images", "images/s", "of what they could", "driver, ms a block"
    )
    for one in found:
        could = one.workers / image_seconds
        rate = one.images / one.seconds
        driver = 1e3 * one.driver_seconds / one.blocks
        cells = (f"{rate:.0f}", f"{rate / could:.0%}", f"{driver:.1f}")
        table.add(str(one.workers), str(one.images), *cells)
    return table


def fit(runs: list[Run]) -> tuple[float, float, float]:
    """Seconds of a job's start, of an image and of a block, none below zero."""
    from scipy.optimize import nnls

    terms = [[1.0, run.images / run.workers, run.blocks / run.workers] for run in runs]
    found, _ = nnls(np.array(terms), np.array([run.seconds for run in runs]))
    return float(found[0]), float(found[1]), float(found[2])


def tables(runs: list[Run], seconds: dict[str, float]) -> Iterator[Table]:
    """Throughput, the steps, and what the fit says."""
    work = sum(seconds.values())
    rates = Table("workers", "images a block", "seconds", "images/s", "of it spent in the steps")
    for run in runs:
        in_steps = run.images * work / run.workers / run.seconds
        cells = (f"{run.seconds:.1f}", f"{run.images / run.seconds:.1f}", f"{in_steps:.0%}")
        rates.add(str(run.workers), str(run.block_images), *cells)
    yield rates
    parts = Table("step, one process", "ms an image", "share")
    for name, spent in seconds.items():
        parts.add(name, f"{1e3 * spent:.2f}", f"{spent / work:.0%}")
    yield parts
    start, image, block = fit(runs)
    fitted = Table("fitted", "")
    fitted.add("a job", f"{start:.1f} s")
    fitted.add("an image", f"{1e3 * image:.1f} ms of a worker")
    fitted.add("a block", f"{1e3 * block:.0f} ms of a worker")
    yield fitted


def main() -> None:
    """Measure, print, and keep a dated file."""
    parser = argparse.ArgumentParser(description="Throughput by workers, and where the time goes")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--waiting", type=int, nargs="*", default=[])
    options = parser.parse_args()
    seconds = time_steps(options.data)
    runs = [run for workers in options.workers for run in time_runs(options.data, workers)]
    protocol = (
        f"{runs[0].images} images of {options.data.name}; steps timed on {SAMPLE} of them; "
        f"workers are warm; load {os.getloadavg()[0]:.1f}."
    )
    work = sum(seconds.values())
    waited = [time_waiting(options.data, workers, work) for workers in options.waiting]
    extra = [waiting_table(waited, work)] if waited else []
    write_result("scale", protocol, *tables(runs, seconds), *extra)


if __name__ == "__main__":
    main()
