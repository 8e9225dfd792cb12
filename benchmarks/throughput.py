"""Rate of the complete job, relative to the bare step functions on all CPUs.

    python -m benchmarks.throughput --data TREE [--frames all] [--profile fast] [--model BUNDLE]
    python -m benchmarks.throughput --data TREE --profile fast --sweep

Bare: the step functions without Ray on the same images, in one process (multiplied by the number of
CPUs) and in as many processes as CPUs. Job: the extraction of all images on Ray, from the first
block that a worker finishes to the last one. With a bundle the job is a prediction: frame → crop,
landmarks, features, class probabilities → stored row. With `--sweep` it is a first sweep of the
images into a new store.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pyarrow as pa

from benchmarks.report import Table, write_result
from fer_ray.execution.cluster.session import ray_closed_after
from fer_ray.execution.guarded_batches import BATCH_IMAGES
from fer_ray.execution.progress import Advance
from fer_ray.features.image_steps import ImageSteps
from fer_ray.models.bundles.bundle import read_bundle
from fer_ray.pipelines import run
from fer_ray.pipelines.prediction import predict as prediction
from fer_ray.pipelines.prediction.prediction_plan import plan_prediction
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.root import PROFILES, Execution, Settings
from fer_ray.sources.datasets.listing import list_source
from fer_ray.storage.locks import lock_folder

ON_RAY = Execution(executor="ray")


def main() -> None:
    """Measure both and write the table with their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", choices=["study", "first-and-peak", "all"], default="all")
    parser.add_argument("--profile", choices=list(PROFILES), default="reference")
    parser.add_argument("--model", type=Path, help="a bundle; its extraction settings apply")
    parser.add_argument("--sweep", action="store_true", help="sweep the images")
    options = parser.parse_args()
    settings = read_settings(options.profile, options.frames, options.model)
    listing = list_source(options.data, settings.selection)
    cpus = os.cpu_count() or 1
    before = [bare_rate(listing.root, listing.table, settings, n) for n in (1, cpus)]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if options.model:
            job, images = predict_rate(options.data, options.model, scratch)
        elif options.sweep:
            job, images = sweep_rate(options.data, settings, scratch)
        else:
            job, images = extract_rate(options.data, settings, scratch)
    after = [bare_rate(listing.root, listing.table, settings, n) for n in (1, cpus)]
    single, parallel = ((first + last) / 2 for first, last in zip(before, after, strict=True))
    what = "prediction" if options.model else "sweep" if options.sweep else "extraction"
    whose = "settings of the bundle" if options.model else f"{options.profile} settings"
    table = Table(f"{what}, {whose}", "images/s", "ratio")
    for name, rate in (
        (f"bare steps of extraction, one process × {cpus}", cpus * single),
        (f"bare steps of extraction, {cpus} processes", parallel),
    ):
        table.add(f"{name}: mean of before and after", f"{rate:.2f}", f"**{job / rate:.2f}**")
    table.add(f"the job, {images} images", f"{job:.2f}", "")
    name = options.model.name if options.model else options.profile
    protocol = f"{options.data.name}, {options.frames} frames. Ratio: the job's rate to this rate."
    write_result(f"throughput-{what}-{name}", protocol, table)


def read_settings(profile: str, frames: str, model: Path | None) -> ExtractSettings:
    """Extraction settings of a profile or, if given, of a bundle."""
    settings = Settings.model_validate(
        {"profile": profile, "extract": {"selection": {"frames": frames}}}
    ).extract
    if model is None:
        return settings
    of_bundle = read_bundle(model).manifest.recipe.settings()
    return of_bundle.model_copy(update={"selection": settings.selection})


def bare_rate(root: Path, table: pa.Table, settings: ExtractSettings, processes: int) -> float:
    """Images per second of the step functions in parallel processes with loaded models."""
    shares = [table.take(list(range(i, table.num_rows, processes))) for i in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        arguments = [(root, share, settings) for share in shares]
        pool.starmap(run_steps, [(root, share.slice(0, 2), settings) for share in shares])
        started = time.perf_counter()
        pool.starmap(run_steps, arguments, chunksize=1)
        return float(table.num_rows / (time.perf_counter() - started))


def run_steps(root: Path, table: pa.Table, settings: ExtractSettings) -> int:
    """Process rows with all steps in batches, and return the number of images."""
    cv2.setNumThreads(1)  # as in a child process
    step, paths = ImageSteps(settings), [root / path for path in table["path"].to_pylist()]
    for start in range(0, len(paths), BATCH_IMAGES):
        step(paths[start : start + BATCH_IMAGES])
    return len(paths)


class Recorder:
    """A progress display that records when the blocks of a step finish.

    Args:
        step: The step to record.
    """

    def __init__(self, step: str) -> None:
        self.step = step
        self.finished: list[tuple[float, int]] = []

    @contextmanager
    def __call__(self, step: str, unit: str, total: int) -> Iterator[Advance]:
        """Record the calls if this is the step."""

        def advance(count: int, *_: object) -> None:
            if step == self.step and count:
                self.finished.append((time.perf_counter(), count))

        yield advance

    def rate(self, by_driver: int = 0) -> tuple[float, int]:
        """Images per second from the first block of a worker to the last one, and their images.

        Args:
            by_driver: Number of records of images that the driver processed while Ray started.
        """
        finished = self.finished[by_driver:]
        (first, started), (last, _) = finished[0], finished[-1]
        images = sum(count for _, count in finished)
        return (images - started) / (last - first), images


def extract_rate(data: Path, settings: ExtractSettings, scratch: Path) -> tuple[float, int]:
    """Images per second of a running extraction, and the number of images."""
    recorder = Recorder("extract")
    wanted = Settings(extract=settings, execution=ON_RAY)
    with lock_folder(scratch / "run"), ray_closed_after():
        run.run_extract(data, scratch / "run", wanted, recorder)
    return recorder.rate(by_driver=1)


def sweep_rate(data: Path, settings: ExtractSettings, scratch: Path) -> tuple[float, int]:
    """Images per second of a running sweep, and the number of images."""
    recorder = Recorder("process")
    wanted = Settings(extract=settings, execution=ON_RAY)
    with ray_closed_after():
        run_sweep(SweepRequest(str(data), str(scratch / "store"), wanted, recorder))
    return recorder.rate()


def predict_rate(data: Path, model: Path, scratch: Path) -> tuple[float, int]:
    """Images per second of running predictions, and the number of images."""
    recorder = Recorder("predict")
    with lock_folder(scratch / "answers"), ray_closed_after():
        plan = plan_prediction(model, [data], scratch / "answers")
        with recorder("predict", "images", 0) as advance:
            prediction.predict(plan, scratch / "answers", ON_RAY, advance)
    return recorder.rate(by_driver=1)


if __name__ == "__main__":
    main()
