"""The complete job and the procedure of the reference study, on the same images and machine.

    python -m benchmarks.baseline --data TREE [--frames all]

times `fer-ray run` (selection, crops, landmarks, 20 trials, report; start-up included) and then the
procedure of the reference study (`naive_study`), and prints the ratio. The latter takes many
minutes: like the notebook, it locates the landmarks again in each trial.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.naive_study import find_face, load_cascades, load_predictor, run_trial
from benchmarks.report import Table, write_result
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import list_source

KERNELS = ("linear", "poly")


def main() -> None:
    """Run both, compare them, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of CK+")
    parser.add_argument("--trials", type=int, default=10, help="trials per kernel, for both")
    parser.add_argument("--frames", choices=("study", "all"), default="study", help="for both")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        job, record, memory = time_job(options, Path(scratch) / "run")
    print(f"fer-ray run took {job:.1f} s. Running the reference study's procedure.", flush=True)
    naive, accuracies = time_reference_study(options)
    table = Table("job", "seconds", "linear", "polynomial")
    job_means = [f"{experiment['test_accuracy']:.3f}" for experiment in record["experiments"]]
    table.add("fer-ray run, start to end", f"{job:.1f}", *job_means)
    naive_means = [f"{np.mean(accuracies[kernel]):.3f}" for kernel in KERNELS]
    table.add("reference study's procedure, one process", f"{naive:.1f}", *naive_means)
    table.add("ratio", f"**{naive / job:.1f}**", "", "")
    stages = Table("within fer-ray run", "")
    for stage, seconds in record["timings"].items():
        stages.add(stage, f"{seconds:.1f}")
    for process, mebibytes in memory.items():
        stages.add(f"peak memory, {process}", f"{mebibytes:.0f} MiB")
    selected = record["extract"]["data"]["selected"]
    protocol = (
        f"{options.data.name}: {selected} images (--frames {options.frames}); accuracies are "
        f"means of {options.trials} random 80/20 trials per kernel (reference features), each job "
        "with its own splits."
    )
    name = options.data.name if options.frames == "study" else f"{options.data.name}-all"
    write_result(f"baseline-{name}", protocol, table, stages)


def time_job(
    options: argparse.Namespace, out: Path
) -> tuple[float, dict[str, Any], dict[str, float]]:
    """Run `fer-ray run`.

    Returns:
        Seconds, its record, and the peak memory of the driver and of the largest worker in MiB.
    """
    command = [sys.executable, "-m", "fer_ray", "run", "--data", options.data, "--out", out,
               "--trials", options.trials, "--frames", options.frames]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen([*map(str, command)])
    memory: dict[str, float] = defaultdict(float)
    watcher = threading.Thread(target=watch_memory, args=(process.pid, memory))
    watcher.start()
    if process.wait():
        raise SystemExit("fer-ray run failed")
    seconds = time.perf_counter() - started
    watcher.join()
    return seconds, json.loads((out / "run.json").read_text()), memory


def watch_memory(pid: int, peaks: dict[str, float]) -> None:
    """Record the peak memory of a driver and of its largest Ray worker until the driver exits.

    Args:
        pid: Process ID of the driver.
        peaks: Receives `driver` and `largest worker`: resident memory in MiB.
    """
    try:
        driver = psutil.Process(pid)
        while driver.is_running() and driver.status() != psutil.STATUS_ZOMBIE:
            record_peak(peaks, "driver", driver)
            for child in driver.children(recursive=True):
                if child.name().startswith("ray::"):
                    record_peak(peaks, "largest worker", child)
            time.sleep(2)
    except psutil.NoSuchProcess:
        return


def record_peak(peaks: dict[str, float], name: str, process: psutil.Process) -> None:
    """Raise `peaks[name]` to the memory that `process` uses now, if that is larger."""
    try:
        peaks[name] = max(peaks[name], process.memory_info().rss / 2**20)
    except psutil.NoSuchProcess:
        return


def time_reference_study(options: argparse.Namespace) -> tuple[float, dict[str, list[float]]]:
    """Run the reference study's procedure. Its trials leave out images without a label.

    Returns:
        Seconds, and the test accuracies by kernel.
    """
    started = time.perf_counter()
    rows = list_source(options.data, Selection(frames=options.frames)).table.to_pylist()
    cascades, predictor = load_cascades(), load_predictor()
    detector = dlib.get_frontal_face_detector()
    crops: dict[int, list[NDArray[np.uint8]]] = defaultdict(list)
    for row in rows:
        crop = find_face(options.data / row["path"], cascades).crop
        if crop is not None and row["label"] is not None:
            crops[row["label"]].append(crop)
    accuracies: dict[str, list[float]] = defaultdict(list)
    for kernel in KERNELS:
        for trial in range(options.trials):
            accuracy, _ = run_trial(crops, kernel, trial, detector, predictor)
            accuracies[kernel].append(accuracy)
            print(f"reference study, {kernel} trial {trial}: {accuracy:.3f}", flush=True)
    return time.perf_counter() - started, accuracies


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
