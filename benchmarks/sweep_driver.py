"""How many rows pass from workers to a committed store, without work on images.

The tasks of a sweep are replaced by tasks that invent distinct contents, write the same files and
return the same results: the driver, Ray and the store work as in a sweep, and nothing else does.
Each measurement runs in a separate process, whose peak memory is that of the driver.

    python -m benchmarks.sweep_driver --rows 10000 100000 1000000
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from deltalake import DeltaTable

from benchmarks.report import Table, write_result
from benchmarks.sweep_scale import write_images
from fer_ray.execution.cluster.session import ray_closed_after
from fer_ray.execution.tasks.block_sizes import block_size
from fer_ray.pipelines.sweeps.block_files import BlockResult, BlockWriter, Output
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.pipelines.sweeps.planning.prepare import prepare_sweep
from fer_ray.pipelines.sweeps.process import sweep_output
from fer_ray.pipelines.sweeps.publishing.commits import Commits
from fer_ray.settings.root import Settings

KINDS = {"no_face": "no face", "ok": "all features"}


@dataclass(frozen=True)
class InventBlock:
    """The task: writes rows of distinct contents, and as many readings.

    Attributes:
        output: Where they go.
        rows: The rows of one block, whose contents are replaced.
    """

    output: Output
    rows: pa.Table

    def __call__(self, number: int) -> BlockResult:
        """Write the rows of a block."""
        names = [f"{number}-{row}".encode() for row in range(self.rows.num_rows)]
        contents = [hashlib.sha256(name).hexdigest() for name in names]
        writer = BlockWriter(self.output, 0)
        for content in contents:
            row = {"path": f"{content}.png", "size": 1, "mtime_ns": 1, "sha256": None}
            writer.add_reading(row, content, {})
        column = self.rows.column_names.index("sha256")
        rows = self.rows.set_column(column, "sha256", pa.array(contents))
        writer.add_rows(rows.drop_columns(["recipe", "sweep"]), retried=False)
        return writer.finish(len(contents))


def invented_rows(schema: pa.Schema, size: int, status: str) -> pa.Table:
    """Rows with a status and, if it is `ok`, landmarks and features."""
    draw = np.random.default_rng(0)
    columns = {
        "sha256": [""] * size, "recipe": [""] * size, "face_index": [0] * size,
        "status": [status] * size, "stage": ["features"] * size, "sweep": [""] * size,
    }  # fmt: skip
    if status == "ok":
        widths = {"landmarks_xy": 136, "features_reference": 268}
        for name in schema.names:
            if name in widths or name.startswith("features_"):
                values = draw.random((size, widths.get(name, 268)), np.float32)
                columns[name] = list(values)
    return pa.table(
        [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(size, f.type)
         for f in schema], schema=schema,
    )  # fmt: skip


def measure(rows: int, status: str, folder: Path) -> dict[str, float]:
    """Pass rows to a store.

    Returns:
        `seconds` without the start of Ray, seconds of `cpu` of this process, the number of
        `commits`, and the memory of this process in MiB at the start (`start_mib`) and at the peak
        (`peak_mib`).
    """
    write_images(folder / "source", 1)
    request = SweepRequest(str(folder / "source"), str(folder / "store"), Settings())
    with ray_closed_after(), prepare_sweep(request) as sweep:
        sweep.fuse.armed = False
        sweep.runner.start()
        size = block_size(rows, sweep.runner.workers)
        task = InventBlock(sweep_output(sweep), invented_rows(sweep.schema, size, status))
        for _ in sweep.runner.run(task, iter(range(-8, 0))):  # workers import
            pass
        process, peak = psutil.Process(), 0
        start_mib = process.memory_info().rss >> 20
        commits, began = Commits(sweep, lambda: None), time.perf_counter()
        cpu_began = time.process_time()
        for result in sweep.runner.run(task, iter(range(rows // size))):
            commits.add(result)
            commits.flush_if_due()
            peak = max(peak, process.memory_info().rss >> 20)
        commits.flush()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        committed = DeltaTable(str(folder / "store" / "results")).count()
        assert committed == rows // size * size, committed
        return {
            "rows": committed,
            "block": size,
            "seconds": seconds,
            "cpu": cpu,
            "commits": sweep.record.result_commits,
            "start_mib": start_mib,
            "peak_mib": peak,
        }


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description="Rows from workers to a committed store")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--status", choices=KINDS)
    options = parser.parse_args()
    if options.status:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(options.rows[0], options.status, Path(folder))))
        return
    table = Table(
        "rows", "content", "rows per block", "seconds", "rows/s", "driver, µs of CPU per row",
        "commits", "driver at the start, MiB", "driver at the peak, MiB",
    )  # fmt: skip
    for status, rows in [("no_face", rows) for rows in options.rows] + [("ok", options.rows[0])]:
        command = [sys.executable, "-m", "benchmarks.sweep_driver", "--rows", str(rows)]
        done = subprocess.run(
            [*command, "--status", status], stdout=subprocess.PIPE, check=True, text=True
        )
        figures = json.loads(done.stdout.splitlines()[-1])
        table.add(
            f"{figures['rows']:,}", KINDS[status], str(figures["block"]),
            f"{figures['seconds']:.1f}", f"{figures['rows'] / figures['seconds']:,.0f}",
            f"{1e6 * figures['cpu'] / figures['rows']:.1f}",
            str(figures["commits"]), str(figures["start_mib"]), str(figures["peak_mib"]),
        )  # fmt: skip
    protocol = (
        "Tasks that invent contents write the files of a sweep (`results` and `readings`), which "
        "the driver commits; two workers on a local disk, started before the clock. 'no face' rows "
        f"have no vectors. Load {os.getloadavg()[0]:.1f} at the end."
    )
    write_result("sweep-driver", protocol, table)


if __name__ == "__main__":
    main()
