"""The whole baseline job against the study's own procedure, on the same images of one machine.

    python -m benchmarks.baseline --data TREE

times `fer-ray run` (selection, crops, landmarks, 20 trials, report; start-up included) and the
naive procedure of `naive_study`, one after the other, and prints the ratio. The naive one takes
many minutes: it locates the landmarks anew in each trial, as the notebook does.
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
from fer_ray.sources.listing import list_source

KERNELS = ("linear", "poly")


def main() -> None:
    """Run both, print the comparison, keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="A CK+ tree.")
    parser.add_argument("--trials", type=int, default=10, help="Trials of each kernel, in both.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        ours, record, memory = run_ours(options.data, Path(scratch) / "run", options.trials)
    print(f"fer-ray run: {ours:.1f} s; the naive procedure follows", flush=True)
    naive, accuracies = run_naive(options.data, options.trials)
    table = Table("job", "seconds", "linear", "polynomial")
    found = [f"{one['test_accuracy']:.3f}" for one in record["experiments"]]
    table.add("fer-ray run, start to end", f"{ours:.1f}", *found)
    means = [f"{np.mean(accuracies[kernel]):.3f}" for kernel in KERNELS]
    table.add("the study's procedure, one process", f"{naive:.1f}", *means)
    table.add("ratio", f"**{naive / ours:.1f}**", "", "")
    stages = Table("of fer-ray run", "")
    for stage, seconds in record["timings"].items():
        stages.add(stage, f"{seconds:.1f}")
    for process, mebibytes in memory.items():
        stages.add(f"peak memory, {process}", f"{mebibytes:.0f} MiB")
    selected = record["extract"]["data"]["selected"]
    protocol = (
        f"{options.data.name}: {selected} images; accuracies are means of {options.trials} random "
        "80/20 trials of each kernel (reference features), each job with its own draws."
    )
    write_result(f"baseline-{options.data.name}", protocol, table, stages)


def run_ours(data: Path, out: Path, trials: int) -> tuple[float, dict[str, Any], dict[str, float]]:
    """Wall seconds of `fer-ray run`, its record, and peak MiB of driver and of a worker."""
    command = [sys.executable, "-m", "fer_ray", "run", "--data", data, "--out", out]
    started = time.perf_counter()
    process = subprocess.Popen([*map(str, command), "--trials", str(trials)])
    memory: dict[str, float] = defaultdict(float)
    watcher = threading.Thread(target=watch_memory, args=(process.pid, memory))
    watcher.start()
    if process.wait():
        raise SystemExit("fer-ray run failed")
    seconds = time.perf_counter() - started
    watcher.join()
    return seconds, json.loads((out / "run.json").read_text()), memory


def watch_memory(pid: int, peaks: dict[str, float]) -> None:
    """Follow resident memory of a driver and of Ray's workers below it until the driver ends."""
    try:
        driver = psutil.Process(pid)
        while driver.is_running() and driver.status() != psutil.STATUS_ZOMBIE:
            note_peak(peaks, "driver", driver)
            for child in driver.children(recursive=True):
                if child.name().startswith("ray::"):
                    note_peak(peaks, "largest worker", child)
            time.sleep(2)
    except psutil.NoSuchProcess:
        return


def note_peak(peaks: dict[str, float], name: str, process: psutil.Process) -> None:
    """Keep the larger of the memory seen before and now, MiB."""
    try:
        peaks[name] = max(peaks[name], process.memory_info().rss / 2**20)
    except psutil.NoSuchProcess:
        return


def run_naive(data: Path, trials: int) -> tuple[float, dict[str, list[float]]]:
    """Wall seconds of the study's procedure, and its test accuracies by kernel."""
    started = time.perf_counter()
    rows = list_source(data, Selection()).table.to_pylist()
    cascades, predictor = load_cascades(), load_predictor()
    detector = dlib.get_frontal_face_detector()
    crops: dict[int, list[NDArray[np.uint8]]] = defaultdict(list)
    for row in rows:
        crop = find_face(data / row["path"], cascades).crop
        if crop is not None:
            crops[row["label"]].append(crop)
    accuracies: dict[str, list[float]] = defaultdict(list)
    for kernel in KERNELS:
        for trial in range(trials):
            accuracy, _ = run_trial(crops, kernel, trial, detector, predictor)
            accuracies[kernel].append(accuracy)
            print(f"naive {kernel} trial {trial}: {accuracy:.3f}", flush=True)
    return time.perf_counter() - started, accuracies


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
