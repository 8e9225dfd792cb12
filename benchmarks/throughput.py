"""Extraction by the whole job against the bare step functions times the number of processors.

    python -m benchmarks.throughput --data TREE [--frames all] [--profile fast] [--model BUNDLE]

Bare: the step functions without Ray on a sample of the same images, in one process alone, times the
number of processors, and in as many processes at once. Job: `fer_ray.pipelines.extract` once Ray runs and
every worker has loaded its models (a first pass over a few images warms them up). With a bundle the
job is `fer_ray.pipelines.predict`: frame → crop, landmarks, features, class probabilities → stored row.
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
from fer_ray.execution.session import ensure_ray, ray_closed_after
from fer_ray.features import steps
from fer_ray.models.bundles.bundle import read_bundle
from fer_ray.pipelines import predict as prediction
from fer_ray.pipelines import run
from fer_ray.settings.extraction import ExtractSettings, Selection
from fer_ray.settings.root import Execution, Settings
from fer_ray.sources.listing import list_source
from fer_ray.storage.locks import run_folder

BARE_IMAGES = 150  # of each process
WARM_IMAGES = 60


def main() -> None:
    """Measure both, print the ratios, keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", choices=["study", "first-and-peak", "all"], default="all")
    parser.add_argument("--profile", choices=["reference", "fast"], default="reference")
    parser.add_argument("--model", type=Path, help="A bundle; its settings of extraction count.")
    options = parser.parse_args()
    settings = Settings.model_validate(
        {"profile": options.profile, "extract": {"selection": {"frames": options.frames}}}
    ).extract
    if options.model:
        selection = settings.selection
        settings = read_bundle(options.model).manifest.recipe.settings()
        settings = settings.model_copy(update={"selection": selection})
    listing = list_source(options.data, settings.selection)
    processors = os.cpu_count() or 1
    bare = [bare_rate(listing.root, listing.table, settings, n) for n in (1, processors)]
    if options.model:
        measured, images = predict_rate(options.data, options.model)
    else:
        measured, images = job_rate(options.data, settings)
    again = [bare_rate(listing.root, listing.table, settings, n) for n in (1, processors)]
    alone, at_once = ((one + other) / 2 for one, other in zip(bare, again, strict=True))
    what = "prediction" if options.model else "extraction"
    whose = "the bundle's" if options.model else options.profile
    table = Table(f"{what}, {whose} settings", "images/s", "ratio")
    rates = (processors * alone, at_once)
    names = (f"bare steps of extraction, one process alone, × {processors}",
             f"the same, {processors} processes at once")  # fmt: skip
    for name, rate in zip(names, rates, strict=True):
        table.add(f"{name}: mean of before and after", f"{rate:.2f}", f"**{measured / rate:.2f}**")
    table.add(f"the job, {images} images", f"{measured:.2f}", "")
    protocol = f"{options.data.name}, {options.frames} frames."
    name = options.model.name if options.model else options.profile
    write_result(f"throughput-{what}-{name}", protocol, table)


def bare_rate(root: Path, table: pa.Table, settings: ExtractSettings, processes: int) -> float:
    """Images a second of the step functions in so many processes at once, models loaded."""
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


def silent(*_: object) -> nullcontext[object]:
    """No progress display."""
    return nullcontext(lambda _: None)


def job_rate(data: Path, settings: ExtractSettings) -> tuple[float, int]:
    """Images a second of the job once running, and the number of images."""
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        ensure_ray(Execution())
        warm = settings.model_copy(update={"selection": Selection(frames="study")})
        for number, chosen in enumerate((warm, settings)):
            out = Path(scratch) / str(number)
            with run_folder(out):
                record = run.run_extract(data, out, Settings(extract=chosen), silent)  # type: ignore[arg-type]
    return rate_of(record)


def predict_rate(data: Path, model: Path) -> tuple[float, int]:
    """The same of predictions of all images."""
    few = sorted(data.rglob("*.png"))[:WARM_IMAGES]
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        ensure_ray(Execution())
        for number, images in enumerate((few, [data])):
            out = Path(scratch) / str(number)
            with run_folder(out):
                planned = prediction.plan(model, images, out)
                record = prediction.predict(planned, out, Execution(), lambda _: None)
    return rate_of(record)


def rate_of(record: dict[str, object]) -> tuple[float, int]:
    """Images a second and images, by a job's record."""
    timings = record["timings"]
    assert isinstance(timings, dict)
    return timings["images_done"] / timings["extract_seconds"], timings["images_done"]


if __name__ == "__main__":
    main()
