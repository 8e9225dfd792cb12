"""How throughput grows with workers, and where the time goes.

Extracts the same images with 1 … N workers and two block sizes, and times the steps of one process
apart from Ray. From these it fits what a job costs besides the work itself:

    seconds = start + work · images / workers + block · blocks / workers

    python -m benchmarks.scale --data corpus --workers 1 2 --nodes 2 --waiting 8 16 32

`--nodes` does the same on so many nodes of one processor each, simulated on this machine; with
RAY_ADDRESS set, `--workers` measures that cluster. Blocks that ask for no work at all tell what
handing one out costs: its way through the object store, and the scheduling.

`--waiting` asks how many workers one driver can feed, on a machine that has fewer processors: the
same blocks go through Ray Data to so many workers, which wait for as long as the steps would take
and then keep real rows. What they lose is the driver's, the scheduler's and the storage's doing.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.report import Table, write_result
from benchmarks.scale_driver import handing_table, time_handing, time_waiting, waiting_table
from fer_ray.execution.authentication import prepare_token
from fer_ray.execution.chain import schema
from fer_ray.execution.session import ensure_ray, ray_closed_after
from fer_ray.features import steps
from fer_ray.pipelines.extract import extract, plan
from fer_ray.settings.extraction import ExtractSettings, Selection
from fer_ray.settings.root import Execution
from fer_ray.sources.listing import list_source
from fer_ray.storage.parquet import write_table

BLOCK_IMAGES = (4, 32)
SAMPLE = 48  # images that the steps are timed on, one process, no Ray
SETTINGS = ExtractSettings(selection=Selection(frames="all"))


@dataclass(frozen=True)
class Run:
    """One extraction by workers that are warm."""

    workers: int
    block_images: int
    images: int
    seconds: float
    where: str = ""

    @property
    def blocks(self) -> int:
        """Number of tasks."""
        return -(-self.images // self.block_images)


def time_steps(data: Path) -> tuple[dict[str, float], float]:
    """Seconds an image of each step, in one process, and the bytes that are kept of an image."""
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
        kept = Path(folder, "rows.parquet")
        write_table(rows, kept)
        seconds["write"] = (time.perf_counter() - started) / table.num_rows
        return seconds, kept.stat().st_size / table.num_rows


@contextmanager
def simulated(nodes: int) -> Iterator[None]:
    """A cluster on this machine whose nodes have a processor each, and whose head has none."""
    prepare_token()
    os.environ["RAY_AUTH_MODE"] = "token"  # of all that is started; read with Ray's import
    from ray.cluster_utils import Cluster

    node = {"object_store_memory": 100_000_000}
    cluster = Cluster(
        initialize_head=True, head_node_args={**node, "num_cpus": 0, "include_dashboard": False}
    )
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, **node)
        yield
    finally:
        cluster.shutdown()
        del os.environ["RAY_ADDRESS"], os.environ["RAY_AUTH_MODE"]


def time_runs(data: Path, workers: int, where: str = "") -> Iterator[Run]:
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
                yield Run(workers, block_images, planned.listing.table.num_rows, seconds, where)


def fit(runs: list[Run]) -> tuple[float, float, float]:
    """Seconds of a job's start, of an image and of a block, none below zero."""
    from scipy.optimize import nnls

    terms = [[1.0, run.images / run.workers, run.blocks / run.workers] for run in runs]
    found, _ = nnls(np.array(terms), np.array([run.seconds for run in runs]))
    return float(found[0]), float(found[1]), float(found[2])


def moved_table(data: Path, kept_bytes: float) -> Table:
    """What crosses the network where storage is not the node's own."""
    listing = list_source(data, SETTINGS.selection)
    sizes = [(listing.root / path).stat().st_size for path in listing.table["path"].to_pylist()]
    table = Table("moved", "kB an image")
    table.add("read from the source", f"{np.mean(sizes) / 1e3:.2f}")
    table.add("listed rows, from the driver", f"{listing.table.nbytes / len(sizes) / 1e3:.2f}")
    table.add("kept rows, Parquet", f"{kept_bytes / 1e3:.2f}")
    return table


def tables(runs: list[Run], seconds: dict[str, float]) -> Iterator[Table]:
    """Throughput, the steps, and what the fit says."""
    work = sum(seconds.values())
    rates = Table("workers", "images a block", "seconds", "images/s", "of it spent in the steps")
    for run in runs:
        in_steps = run.images * work / run.workers / run.seconds
        cells = (f"{run.seconds:.1f}", f"{run.images / run.seconds:.1f}", f"{in_steps:.0%}")
        rates.add(f"{run.workers}{run.where}", str(run.block_images), *cells)
    yield rates
    parts = Table("step, one process", "ms an image", "share")
    for name, spent in seconds.items():
        parts.add(name, f"{1e3 * spent:.2f}", f"{spent / work:.0%}")
    yield parts
    start, image, block = fit(runs)
    fitted = Table("fitted", "")
    fitted.add(
        "what more workers do not shorten, their slowing each other among it", f"{start:.1f} s"
    )
    fitted.add("an image", f"{1e3 * image:.1f} ms of a worker")
    fitted.add("a block", f"{1e3 * block:.0f} ms of a worker")
    yield fitted


def main() -> None:
    """Measure, print, and keep a dated file."""
    parser = argparse.ArgumentParser(description="Throughput by workers, and where the time goes")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--nodes", type=int, nargs="*", default=[])
    parser.add_argument("--waiting", type=int, nargs="*", default=[])
    options = parser.parse_args()
    seconds, kept_bytes = time_steps(options.data)
    runs = [run for workers in options.workers for run in time_runs(options.data, workers)]
    for nodes in options.nodes:
        with simulated(nodes):
            runs += time_runs(options.data, nodes, f" on {nodes} nodes")
    protocol = (
        f"{runs[0].images} images of {options.data.name}; steps timed on {SAMPLE} of them; "
        f"workers are warm; load {os.getloadavg()[0]:.1f}."
    )
    work = sum(seconds.values())
    waited = [time_waiting(options.data, SETTINGS, workers, work) for workers in options.waiting]
    handing = handing_table(time_handing(options.data, SETTINGS, max(options.workers)), work)
    extra = [waiting_table(waited, work)] if waited else []
    moved = moved_table(options.data, kept_bytes)
    write_result("scale", protocol, *tables(runs, seconds), handing, moved, *extra)


if __name__ == "__main__":
    main()
