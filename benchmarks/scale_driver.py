"""What it costs a driver to hand blocks out, apart from their work; told by `benchmarks.scale`."""

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from benchmarks.report import Table
from fer_ray.execution.chain import POSITION, keep_rows, receipt
from fer_ray.execution.session import ensure_ray, ray_closed_after
from fer_ray.pipelines.extract import extract, plan
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.root import Execution
from fer_ray.sources.listing import list_source
from fer_ray.storage.staging import StagedRows

BLOCK_IMAGES = 32  # a quarter of the largest block of a long job: more of them to feed
WAITING_BLOCKS = 6  # of each waiting worker
EMPTY_BLOCKS = 400  # that ask for no work


@dataclass(frozen=True)
class Handing:
    """What it costs to hand a block out, apart from its work.

    Attributes:
        bytes: Of a block in the object store.
        serialise_seconds: Into the object store and out of it, in one process.
        pass_seconds: Through Ray Data, without any work; this and the next for a block.
        driver_seconds: Of the driver's processor, of these.
    """

    bytes: int
    serialise_seconds: float
    pass_seconds: float
    driver_seconds: float


def time_handing(data: Path, settings: ExtractSettings, workers: int) -> Handing:
    """Blocks of listed rows that ask for no work."""
    rows = list_source(data, settings.selection).table
    rows = rows.take(np.resize(np.arange(rows.num_rows), BLOCK_IMAGES))
    blocks = [rows] * EMPTY_BLOCKS
    with ray_closed_after():
        ensure_ray(Execution(workers=workers))
        started = time.perf_counter()
        for block in blocks:
            ray.get(ray.put(block))
        serialise = time.perf_counter() - started
        for _ in ("a pass that starts workers", "the one that counts"):
            spent, started = processor_seconds(), time.perf_counter()
            passed = ray.data.from_blocks(blocks).map_batches(
                do_nothing, batch_format="pyarrow", batch_size=rows.num_rows
            )
            for _ in passed.iter_batches(batch_size=None, batch_format="pyarrow"):
                pass
            seconds = time.perf_counter() - started
        driver = processor_seconds() - spent
    return Handing(rows.nbytes, *(one / EMPTY_BLOCKS for one in (serialise, seconds, driver)))


def do_nothing(table: pa.Table) -> pa.Table:
    """What a task hands on, at once."""
    return receipt(table.num_rows)


def processor_seconds() -> float:
    """That this process has used."""
    spent = psutil.Process().cpu_times()
    return float(spent.user + spent.system)


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
        return self.images // BLOCK_IMAGES


def time_waiting(
    data: Path, settings: ExtractSettings, workers: int, image_seconds: float
) -> Waiting:
    """So many workers that wait, after a pass that starts them."""
    with tempfile.TemporaryDirectory() as folder, ray_closed_after():
        ensure_ray(Execution(workers=workers))
        out = Path(folder, "rows")
        extract(plan(data, out, settings, fresh=False), out, Execution(workers=2), lambda _: None)
        rows = pq.read_table(out / "frames").slice(0, BLOCK_IMAGES)
        wait = partial(wait_and_keep, rows=rows, staged=StagedRows(Path(folder, "kept")))
        seconds = 0.0
        for pause in (0.01, image_seconds):
            count = workers * WAITING_BLOCKS
            positions = np.arange(count * rows.num_rows).reshape(count, -1)
            blocks = [pa.table({POSITION: block}) for block in positions]
            spent, started = processor_seconds(), time.perf_counter()
            receipts = ray.data.from_blocks(blocks).map_batches(
                partial(wait, image_seconds=pause),
                batch_format="pyarrow",
                batch_size=rows.num_rows,
            )
            for _ in receipts.iter_batches(batch_size=None, batch_format="pyarrow"):
                pass
            seconds = time.perf_counter() - started
        return Waiting(workers, positions.size, seconds, processor_seconds() - spent)


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


def handing_table(handing: Handing, image_seconds: float) -> Table:
    """What a block costs besides its work, beside that work."""
    table = Table(f"a block of {BLOCK_IMAGES} images", "ms", "of its work")
    scheduling = handing.pass_seconds - handing.serialise_seconds
    for name, seconds in (
        ("serialisation, into the object store and out of it", handing.serialise_seconds),
        ("scheduling, the rest of its way through Ray Data", scheduling),
        ("of these two, the driver's processor", handing.driver_seconds),
        ("its work, one process", BLOCK_IMAGES * image_seconds),
    ):
        share = seconds / (BLOCK_IMAGES * image_seconds)
        table.add(name, f"{1e3 * seconds:.1f}", f"{share:.2%}")
    return table
