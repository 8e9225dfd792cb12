"""How throughput grows with the number of workers, and where the time goes.

Extracts the same images with 1 to N workers and two block sizes, and times each step in one process
without Ray. A fit of these figures gives the overheads of a job and of a block:

    seconds = start + image · images / workers + block · blocks / workers

    python -m benchmarks.scale --data corpus --workers 1 2 --nodes 2 --waiting 8 16 32

`--nodes` repeats the extraction on nodes with one CPU each, simulated on this machine. If
RAY_ADDRESS is set, `--workers` measures that cluster. Blocks without any work measure the overhead
of a block: serialisation and scheduling.

`--waiting` measures how many workers one driver can supply, on a machine with fewer CPUs. The same
blocks go through Ray to workers that sleep for as long as the steps would take and then write
real rows. Any loss in throughput is due to the driver, the scheduler and the storage.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from benchmarks.report import Table, write_result
from benchmarks.scale_driver import (
    dispatch_table,
    measure_dispatch,
    time_waiting_workers,
    waiting_table,
)
from benchmarks.simulated_cluster import simulated_nodes
from benchmarks.stage_clock import StageClock
from fer_ray.execution.cluster.session import ensure_ray, ray_closed_after
from fer_ray.execution.extract_block import extraction_schema
from fer_ray.features.image_steps import ImageSteps
from fer_ray.pipelines.extraction.extract import extract
from fer_ray.pipelines.extraction.extraction_plan import plan_extraction
from fer_ray.settings.extraction import ExtractSettings, Selection
from fer_ray.settings.root import Execution
from fer_ray.sources.datasets.listing import list_source
from fer_ray.storage.parquet import write_table
from fer_ray.vocabulary import Stage

BLOCK_IMAGES = (4, 32)
SAMPLE = 48  # images on which the steps are timed
STAGE_NAMES = {
    Stage.DECODE: "read and decode",
    Stage.CROP: "faces (OpenCV)",
    Stage.LANDMARKS: "landmarks (dlib)",
    Stage.FEATURES: "features",
}
SETTINGS = ExtractSettings(selection=Selection(frames="all"))


@dataclass(frozen=True)
class Run:
    """One extraction, with workers that are already warm."""

    workers: int
    block_images: int
    images: int
    seconds: float
    label: str = ""

    @property
    def blocks(self) -> int:
        """Number of tasks."""
        return -(-self.images // self.block_images)


def time_steps(data: Path) -> tuple[dict[str, float], float]:
    """Time each step in one process without Ray.

    Returns:
        Seconds per image by step, and the bytes that are stored per image.
    """
    listing = list_source(data, SETTINGS.selection)
    cv2.setNumThreads(1)  # as in a child process
    sample = listing.table.slice(0, SAMPLE)
    paths, step = [listing.root / path for path in sample["path"].to_pylist()], ImageSteps(SETTINGS)
    step(paths[:1])  # loads the models
    clock = StageClock(time.perf_counter)
    parts = [step([path], clock.enter) for path in paths]
    clock.stop()
    seconds = {STAGE_NAMES[stage]: clock.seconds[stage] / len(paths) for stage in Stage}
    table = pa.concat_tables(parts)
    for name in sample.column_names:
        table = table.append_column(sample.schema.field(name), sample[name])
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        rows = table.select(extraction_schema(SETTINGS).names).cast(extraction_schema(SETTINGS))
        file = Path(folder, "rows.parquet")
        write_table(rows, file)
        seconds["write"] = (time.perf_counter() - started) / table.num_rows
        return seconds, file.stat().st_size / table.num_rows


def time_runs(data: Path, workers: int, label: str = "") -> Iterator[Run]:
    """Time an extraction for each of `BLOCK_IMAGES`, after one that warms the workers up."""
    with ray_closed_after():
        ensure_ray(Execution(workers=workers))
        for warm, block_images in ((False, BLOCK_IMAGES[0]), *((True, n) for n in BLOCK_IMAGES)):
            with tempfile.TemporaryDirectory() as folder:
                plan = plan_extraction(data, Path(folder), SETTINGS, fresh=False)
                execution = Execution(workers=workers, block_images=block_images)
                started = time.perf_counter()
                extract(plan, Path(folder), execution, lambda _: None)
                seconds = time.perf_counter() - started
            if warm:
                yield Run(workers, block_images, plan.listing.table.num_rows, seconds, label)


def fit_overheads(runs: list[Run]) -> tuple[float, float, float]:
    """Fit the seconds per job, per image and per block, all non-negative."""
    from scipy.optimize import nnls

    terms = [[1.0, run.images / run.workers, run.blocks / run.workers] for run in runs]
    solution, _ = nnls(np.array(terms), np.array([run.seconds for run in runs]))
    return float(solution[0]), float(solution[1]), float(solution[2])


def traffic_table(data: Path, stored_bytes: float) -> Table:
    """Network traffic if storage is not local to the node."""
    listing = list_source(data, SETTINGS.selection)
    sizes = [(listing.root / path).stat().st_size for path in listing.table["path"].to_pylist()]
    table = Table("network traffic", "kB per image")
    table.add("read from the source", f"{np.mean(sizes) / 1e3:.2f}")
    table.add("listed rows, from the driver", f"{listing.table.nbytes / len(sizes) / 1e3:.2f}")
    table.add("stored rows, Parquet", f"{stored_bytes / 1e3:.2f}")
    return table


def throughput_tables(runs: list[Run], step_seconds: dict[str, float]) -> Iterator[Table]:
    """Tables of throughput, steps and fitted overheads."""
    work = sum(step_seconds.values())
    rates = Table("workers", "images per block", "seconds", "images/s", "time spent in the steps")
    for run in runs:
        in_steps = run.images * work / run.workers / run.seconds
        cells = (f"{run.seconds:.1f}", f"{run.images / run.seconds:.1f}", f"{in_steps:.0%}")
        rates.add(f"{run.workers}{run.label}", str(run.block_images), *cells)
    yield rates
    shares = Table("step, one process", "ms per image", "share")
    for name, spent in step_seconds.items():
        shares.add(name, f"{1e3 * spent:.2f}", f"{spent / work:.0%}")
    yield shares
    start, image, block = fit_overheads(runs)
    fitted = Table("fitted", "")
    fitted.add("a job, independent of the number of workers", f"{start:.1f} s")
    fitted.add("an image", f"{1e3 * image:.1f} ms of a worker")
    fitted.add("a block", f"{1e3 * block:.0f} ms of a worker")
    yield fitted


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description="Throughput by workers, and where the time goes")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--nodes", type=int, nargs="*", default=[])
    parser.add_argument("--waiting", type=int, nargs="*", default=[])
    options = parser.parse_args()
    step_seconds, stored_bytes = time_steps(options.data)
    runs = [run for workers in options.workers for run in time_runs(options.data, workers)]
    for nodes in options.nodes:
        with simulated_nodes(nodes):
            runs += time_runs(options.data, nodes, f" on {nodes} nodes")
    protocol = (
        f"{runs[0].images} images of {options.data.name}; steps timed on {SAMPLE} of them; "
        f"workers are warm; load {os.getloadavg()[0]:.1f}."
    )
    work = sum(step_seconds.values())
    waiting = [
        time_waiting_workers(options.data, SETTINGS, workers, work) for workers in options.waiting
    ]
    dispatch = measure_dispatch(options.data, SETTINGS, max(options.workers))
    tables = [
        *throughput_tables(runs, step_seconds),
        dispatch_table(dispatch, work),
        traffic_table(options.data, stored_bytes),
    ]
    if waiting:
        tables.append(waiting_table(waiting, work))
    write_result("scale", protocol, *tables)


if __name__ == "__main__":
    main()
