"""Extraction by the whole job against the bare step functions times the number of processors.

    python -m benchmarks.throughput --data TREE [--frames all] [--profile fast]

Bare: the step functions in one process, no Ray, on a sample of the same images, on as many
processes at once as there are processors. Job: `fer_ray.extract` once Ray runs and every worker has
loaded its models (a first pass over a few images warms them up).
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa

from benchmarks.report import Table, write_result
from fer_ray import job
from fer_ray.config import Execution, ExtractSettings, Selection, Settings
from fer_ray.data.holding import run_folder
from fer_ray.data.listing import list_source
from fer_ray.features import steps
from fer_ray.runtime import ensure_ray, ray_closed_after

BARE_IMAGES = 150  # of each process


def main() -> None:
    """Measure both, print the ratio, keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", choices=["study", "first-and-peak", "all"], default="all")
    parser.add_argument("--profile", choices=["reference", "fast"], default="reference")
    options = parser.parse_args()
    settings = Settings.model_validate(
        {"profile": options.profile, "extract": {"selection": {"frames": options.frames}}}
    ).extract
    listing = list_source(options.data, settings.selection)
    bare = bare_rate(listing.root, listing.table, settings)
    measured, images = job_rate(options.data, settings)
    bare_again = bare_rate(listing.root, listing.table, settings)
    best = (bare + bare_again) / 2
    table = Table(f"extraction, {options.profile} settings", "images/s")
    table.add(f"bare step functions, {os.cpu_count()} processes: before", f"{bare:.2f}")
    table.add("after", f"{bare_again:.2f}")
    table.add(f"the job, {images} images", f"{measured:.2f}")
    table.add("ratio", f"**{measured / best:.2f}**")
    protocol = f"{options.data.name}, {options.frames} frames."
    write_result(f"throughput-{options.profile}", protocol, table)


def bare_rate(root: Path, table: pa.Table, settings: ExtractSettings) -> float:
    """Images a second of the step functions on all processors at once, models loaded."""
    processes = os.cpu_count() or 1
    stride = max(1, table.num_rows // (BARE_IMAGES * processes))
    sample = table.take(list(range(0, table.num_rows, stride)))
    shares = [sample.take(list(range(i, sample.num_rows, processes))) for i in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        arguments = [(root, share, settings) for share in shares]
        pool.starmap(run_steps, [(root, share.slice(0, 2), settings) for share in shares])
        started = time.perf_counter()
        pool.starmap(run_steps, arguments, chunksize=1)
        return float(sample.num_rows / (time.perf_counter() - started))


def run_steps(root: Path, table: pa.Table, settings: ExtractSettings) -> int:
    """Put rows through all steps, eight at a time as a task does."""
    rows = 0
    for start in range(0, table.num_rows, 8):
        part = steps.decode(table.slice(start, 8), root, settings.decode)
        part = steps.crop(part, settings.crop)
        part = steps.landmarks(part, settings.landmarks, settings.crop.size_px)
        rows += steps.features(part, settings.features.sets, settings.crop.size_px).num_rows
    return rows


def job_rate(data: Path, settings: ExtractSettings) -> tuple[float, int]:
    """Images a second of the job once running, and the number of images."""
    silent = lambda *_: nullcontext(lambda _: None)  # noqa: E731
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        ensure_ray(Execution())
        warm = settings.model_copy(update={"selection": Selection(frames="study")})
        for number, chosen in enumerate((warm, settings)):
            out = Path(scratch) / str(number)
            with run_folder(out):
                record = job.run_extract(data, out, Settings(extract=chosen), silent)
        seconds = record["timings"]["extract_seconds"]
        return record["timings"]["images_done"] / seconds, record["timings"]["images_done"]


if __name__ == "__main__":
    main()
