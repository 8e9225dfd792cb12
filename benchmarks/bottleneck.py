"""Bottleneck features by the job, against a bare loop and against one image at a time.

    python -m benchmarks.bottleneck --out RUN_FOLDER --backbone vgg16 --weights FILE [--images 96]
    python -m benchmarks.bottleneck … --images 6000 --gpus-per-worker 1

The run folder holds extracted frames of images that are still there; nothing in it is changed, and
they are taken again where more are asked for. The loop is Keras's own application as a compiled
function (for TensorFlow a `tf.function`) on pixels that are in memory, resized and preprocessed, at
the best of several batch sizes; the study's way is `model.predict` on one crop at a time, in
float32. Each has all processors, or the GPU. Of the job, two runs on different numbers of images
tell what one image costs apart from its start; it reads the images, as the first backbone of a run
folder does, and takes the crops that were kept, as each further one does.
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

from benchmarks.augmented import crops_of
from benchmarks.report import Table, write_result
from fer_ray.evaluation.samples import read_samples
from fer_ray.execution.progress import silent
from fer_ray.execution.session import ensure_ray, ray_closed_after
from fer_ray.networks.bottleneck_plan import plan_bottleneck
from fer_ray.networks.inference import application
from fer_ray.networks.keras_backend import load_keras, require_backend
from fer_ray.pipelines.bottleneck import run_bottleneck
from fer_ray.settings.backbones import BACKBONES, BackboneSpec
from fer_ray.settings.root import Execution
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.parquet import write_table
from fer_ray.storage.run_folder import frames_record

BATCHES = (8, 16, 32, 64)
IN_LOOP = 64  # images of a bare loop
ROUNDS = 3  # of every way, one after another: what else the machine does slows the least of none
WAYS = {"cut": "images read and crops cut", "kept": "crops kept by an earlier backbone"}
SINGLE = 12  # images that are predicted one at a time


def main() -> None:
    """Time all three and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="A run folder with frames.")
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--gpus-per-worker", type=float, default=0.0)
    options = parser.parse_args()
    record = frames_record(options.out)
    root = Path(record["data"]["root"])
    samples = read_samples(options.out / "frames", "geometry")
    crops = crops_of(options.out, root, samples)[:IN_LOOP]
    few, many = options.images // 3, options.images
    rounds = [one_round(options, root, crops, few, many) for _ in range(ROUNDS)]
    least = {name: min(each[name] for each in rounds) for name in rounds[0]}
    loops = {batch: least[f"loop of {batch}"] for batch in BATCHES}
    best, single = min(loops, key=lambda batch: loops[batch]), least["single"]
    table = Table(options.backbone, "s/image", "of the best loop", "one at a time takes")
    for batch, each in loops.items():
        table.add(f"bare loop, batches of {batch}", f"{each:.4f}", "", "")
    for way, told in WAYS.items():
        job = (least[f"{way} {many}"] - least[f"{way} {few}"]) / (many - few)
        table.add(f"fer-ray bottleneck, {told}", f"{job:.4f}", f"**{job / loops[best]:.2f}**",
                  f"**{single / job:.1f} times as long**")  # fmt: skip
    table.add("model.predict, one image at a time, float32", f"{single:.4f}", "", "")
    start = least[f"kept {few}"] - job * few
    table.add("the job's start (workers, Keras, weights), once", f"{start:.1f} s", "", "")
    gpus = options.gpus_per_worker
    place = f"{gpus:g} GPUs a worker" if gpus else f"{os.cpu_count()} processors"
    write_result(
        f"bottleneck-{options.backbone}",
        f"{options.images} images, Keras on {require_backend()}, {place} for each way, the least "
        f"of {ROUNDS} rounds. Weights do not matter to speed; no accuracy is measured here.",
        table,
    )


def one_round(
    options: argparse.Namespace, root: Path, crops: NDArray[np.uint8], few: int, many: int
) -> dict[str, float]:
    """Seconds of each way, once."""
    jobs: dict[str, float] = {}
    for n in (few, many):
        jobs |= {f"{way} {n}": seconds for way, seconds in job_seconds(options, root, n).items()}
    loops = {f"loop of {batch}": loop_seconds(options, crops, batch) for batch in BATCHES}
    return {**jobs, **loops, "single": predict_seconds(options, crops[:SINGLE])}


def job_seconds(options: argparse.Namespace, root: Path, images: int) -> dict[str, float]:
    """Of the job on so many usable images, in each of `WAYS`, Ray's own start left out."""
    execution = Execution(gpus_per_worker=options.gpus_per_worker, crops_gib=16)
    with tempfile.TemporaryDirectory() as scratch, ray_closed_after():
        copy = Path(scratch)
        (copy / "frames").mkdir()
        rows = pq.read_table(options.out / "frames", filters=[("status", "=", "ok")])
        rows = rows.take(np.arange(images) % rows.num_rows)
        at = rows.schema.get_field_index("image_id")
        names = pa.array([f"{name}-{n}" for n, name in enumerate(rows["image_id"].to_pylist())])
        rows = rows.set_column(at, rows.schema.field(at), names)
        write_table(rows, copy / "frames" / "part-0.parquet")
        record = read_json(options.out / "extract.json")
        assert record is not None
        record["data"]["selected"] = rows.num_rows
        write_json(record, copy / "extract.json")
        ensure_ray(execution)
        wanted = plan_bottleneck(frames_record(copy), options.backbone, options.weights)
        seconds = {}
        for way in WAYS:
            started = time.perf_counter()
            run_bottleneck(copy, root, wanted, execution, silent, fresh=True)
            seconds[way] = time.perf_counter() - started
        return seconds


def loop_seconds(options: argparse.Namespace, crops: NDArray[np.uint8], batch: int) -> float:
    """An image of a bare loop, after one batch to warm up."""
    spec = BACKBONES[options.backbone]
    keras = load_keras(gpu_share=options.gpus_per_worker)
    pixels = preprocessed(keras, spec, crops)
    model = application(keras, spec, pooling="avg")
    forward = model.predict_on_batch
    if require_backend() == "tensorflow":
        import tensorflow as tf

        forward = tf.function(lambda batch: model(batch, training=False))
    np.asarray(forward(pixels[:batch]))
    started = time.perf_counter()
    for at in range(0, len(pixels), batch):
        np.asarray(forward(pixels[at : at + batch]))
    return (time.perf_counter() - started) / len(pixels)


def predict_seconds(options: argparse.Namespace, crops: NDArray[np.uint8]) -> float:
    """An image of `model.predict` on one at a time, as the study did."""
    spec = replace(BACKBONES[options.backbone], precision="float32")
    keras = load_keras(gpu_share=options.gpus_per_worker)
    model = application(keras, spec)
    model.predict(preprocessed(keras, spec, crops[:1]), verbose=0)
    started = time.perf_counter()
    for crop in crops:
        model.predict(preprocessed(keras, spec, crop[None]), verbose=0)
    return (time.perf_counter() - started) / len(crops)


def preprocessed(keras: ModuleType, spec: BackboneSpec, crops: NDArray[np.uint8]) -> Any:
    """Crops (n, size, size) uint8 as the network takes them, (n, input_px, input_px, 3) float32."""
    side = (spec.input_px, spec.input_px)
    small = np.stack([cv2.resize(crop, side, interpolation=cv2.INTER_AREA) for crop in crops])
    pixels = np.repeat(small[..., None], 3, axis=3).astype(np.float32)
    if not spec.module:
        return pixels
    return getattr(keras.applications, spec.module).preprocess_input(pixels)


if __name__ == "__main__":
    main()
