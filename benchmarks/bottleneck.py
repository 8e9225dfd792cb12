"""Bottleneck features: the job, a bare loop, and one image at a time.

    python -m benchmarks.bottleneck --out RUN --backbone vgg16 --weights FILE [--images 96]
    python -m benchmarks.bottleneck … --images 6000 --gpus-per-worker 1

The run folder contains frames whose images still exist; it is not changed. If `--images` is larger
than their number, images are used more than once. The loop is Keras's own application as a compiled
function (for TensorFlow a `tf.function`) on resized and preprocessed pixels in memory, at the best
of several batch sizes. The reference study's method is `model.predict` on one crop at a time, in
float32. Each method has all CPUs, or the GPU. The job runs on two different numbers of images to
separate the duration per image from that of its start. For each number it runs twice: first it
reads images and cuts crops, as for the first backbone of a run folder, then it reads the cached
crops, as for each further backbone.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.augmented import cut_crops
from benchmarks.report import Table, write_result
from fer_ray.evaluation.experiments.samples import read_samples
from fer_ray.execution.cluster.session import ensure_ray, ray_closed_after
from fer_ray.execution.progress import silent
from fer_ray.networks.bottleneck.bottleneck_plan import plan_bottleneck
from fer_ray.networks.bottleneck.inference import build_application
from fer_ray.networks.keras_backend import load_keras, require_backend
from fer_ray.pipelines.extraction.bottleneck import run_bottleneck
from fer_ray.settings.backbones import BACKBONES, BackboneSpec
from fer_ray.settings.root import Execution
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.parquet import rows_by_file, write_table
from fer_ray.storage.run_folder import frames_record

BATCHES = (8, 16, 32, 64)
LOOP_IMAGES = 64  # images of the bare loop
ROUNDS = 3  # of each measurement, interleaved; the minimum is least affected by other processes
CROPS = {"cut": "images read and crops cut", "cached": "crops cached by an earlier backbone"}
SINGLE_IMAGES = 12  # images that are predicted one at a time


def main() -> None:
    """Time all three methods and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a run folder with frames")
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--gpus-per-worker", type=float, default=0.0)
    options = parser.parse_args()
    record = frames_record(options.out)
    root = Path(record["data"]["root"])
    samples = read_samples(options.out / "frames", "geometry")
    crops = cut_crops(options.out, root, samples)[:LOOP_IMAGES]
    few, many = options.images // 3, options.images
    rounds = [time_round(options, root, crops, few, many) for _ in range(ROUNDS)]
    least = {name: min(seconds[name] for seconds in rounds) for name in rounds[0]}
    gpus = options.gpus_per_worker
    device = f"{gpus:g} GPUs per worker" if gpus else f"{os.cpu_count()} CPUs"
    write_result(
        f"bottleneck-{options.backbone}",
        f"{options.images} images, Keras on {require_backend()}, {device} for each method, the "
        f"minimum of {ROUNDS} rounds. Weights do not affect speed; no accuracy is measured here.",
        comparison_table(options.backbone, least, few, many),
    )


def comparison_table(backbone: str, least: dict[str, float], few: int, many: int) -> Table:
    """Seconds per image of each method, from the durations that `time_round` measured."""
    loops = {batch: least[f"loop of {batch}"] for batch in BATCHES}
    best, single = min(loops.values()), least["single"]
    table = Table(backbone, "s/image", "relative to the best loop", "one at a time takes")
    for batch, seconds in loops.items():
        table.add(f"bare loop, batches of {batch}", f"{seconds:.4f}", "", "")
    for crops, description in CROPS.items():
        job = (least[f"{crops} {many}"] - least[f"{crops} {few}"]) / (many - few)
        table.add(f"fer-ray bottleneck, {description}", f"{job:.4f}", f"**{job / best:.2f}**",
                  f"**{single / job:.1f} times as long**")  # fmt: skip
    table.add("model.predict, one image at a time, float32", f"{single:.4f}", "", "")
    start = least[f"cached {few}"] - job * few
    table.add("start of the job (workers, Keras, weights), once", f"{start:.1f} s", "", "")
    return table


def time_round(
    options: argparse.Namespace, root: Path, crops: NDArray[np.uint8], few: int, many: int
) -> dict[str, float]:
    """Time each method once, in seconds: the job in total, the others per image."""
    jobs: dict[str, float] = {}
    for images in (few, many):
        times = job_seconds(options, root, images)
        jobs |= {f"{source} {images}": seconds for source, seconds in times.items()}
    loops = {f"loop of {batch}": loop_seconds(options, crops, batch) for batch in BATCHES}
    return {**jobs, **loops, "single": predict_seconds(options, crops[:SINGLE_IMAGES])}


def job_seconds(options: argparse.Namespace, root: Path, images: int) -> dict[str, float]:
    """Time the job on usable images for each of `CROPS`, without the start of Ray."""
    execution = Execution(gpus_per_worker=options.gpus_per_worker, crops_gib=16)
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        copy = Path(scratch)
        write_frames(options.out, copy, images)
        ensure_ray(execution)
        plan = plan_bottleneck(frames_record(copy), options.backbone, options.weights)
        seconds = {}
        for crops in CROPS:
            started = time.perf_counter()
            run_bottleneck(copy, root, plan, execution, silent, fresh=True)
            seconds[crops] = time.perf_counter() - started
        return seconds


def write_frames(out: Path, copy: Path, images: int) -> None:
    """Write a run folder with usable frames of `out`, repeated under new IDs if too few."""
    (copy / "frames").mkdir()
    rows = pq.read_table(out / "frames", filters=[("status", "=", "ok")])
    rows = rows.take(np.arange(images) % rows.num_rows)
    column = rows.schema.get_field_index("image_id")
    ids = pa.array([f"{name}-{n}" for n, name in enumerate(rows["image_id"].to_pylist())])
    rows = rows.set_column(column, rows.schema.field(column), ids)
    write_table(rows, copy / "frames" / "part-0.parquet")
    record = read_json(out / "extract.json")
    assert record is not None
    record["data"]["selected"] = rows.num_rows
    record["files"] = rows_by_file(copy / "frames")
    write_json(record, copy / "extract.json")


def loop_seconds(options: argparse.Namespace, crops: NDArray[np.uint8], batch: int) -> float:
    """Time a bare loop in seconds per image, after one batch as a warm-up."""
    spec = BACKBONES[options.backbone]
    keras = load_keras(gpu_share=options.gpus_per_worker)
    pixels = preprocess(keras, spec, crops)
    model = build_application(keras, spec, pooling="avg")
    forward = model.predict_on_batch
    if require_backend() == "tensorflow":
        import tensorflow as tf

        forward = tf.function(lambda batch: model(batch, training=False))
    np.asarray(forward(pixels[:batch]))
    started = time.perf_counter()
    for start in range(0, len(pixels), batch):
        np.asarray(forward(pixels[start : start + batch]))
    return (time.perf_counter() - started) / len(pixels)


def predict_seconds(options: argparse.Namespace, crops: NDArray[np.uint8]) -> float:
    """Time `model.predict` on one image at a time, in seconds per image."""
    spec = replace(BACKBONES[options.backbone], precision="float32")
    keras = load_keras(gpu_share=options.gpus_per_worker)
    model = build_application(keras, spec)
    model.predict(preprocess(keras, spec, crops[:1]), verbose=0)
    started = time.perf_counter()
    for crop in crops:
        model.predict(preprocess(keras, spec, crop[None]), verbose=0)
    return (time.perf_counter() - started) / len(crops)


def preprocess(keras: ModuleType, spec: BackboneSpec, crops: NDArray[np.uint8]) -> Any:
    """Turn crops (n, size, size) uint8 into input (n, input_px, input_px, 3) float32."""
    side = (spec.input_px, spec.input_px)
    small = np.stack([cv2.resize(crop, side, interpolation=cv2.INTER_AREA) for crop in crops])
    pixels = np.repeat(small[..., None], 3, axis=3).astype(np.float32)
    if not spec.module:
        return pixels
    return getattr(keras.applications, spec.module).preprocess_input(pixels)


if __name__ == "__main__":
    main()
