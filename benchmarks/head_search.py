"""Duration of the command that searches heads, with the start of Ray and TensorFlow.

    python -m benchmarks.head_search --out RUN [--backbone dlib_resnet] [--configs 50]

The run folder contains frames and the features of the backbone, or the feature set of that name. It
is not changed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.report import Table, write_result

TRIALS = (1, 10)


def main() -> None:
    """Time each number of trials and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a run folder with features")
    parser.add_argument("--backbone", default="dlib_resnet")
    parser.add_argument("--configs", type=int, default=50)
    parser.add_argument("--trials", type=int, nargs="+", default=TRIALS)
    options = parser.parse_args()
    table = Table("trials", "configurations", "seconds")
    for trials in options.trials:
        seconds = command_seconds(options.out, options.backbone, options.configs, trials)
        table.add(str(trials), str(trials * options.configs), f"{seconds:.1f}")
    images = pq.read_table(options.out / "frames", filters=[("status", "=", "ok")]).num_rows
    write_result(
        f"head-search-{options.backbone}",
        f"{images} images with a face, `{options.backbone}` features, {os.cpu_count()} CPUs. "
        "Duration of the command, start of Ray and TensorFlow and retraining of the finalists "
        "included.",
        table,
    )


def command_seconds(out: Path, backbone: str, configurations: int, trials: int) -> float:
    """Time `fer-ray search-heads` on a copy of the frames and features."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for folder in ("frames", "bottleneck"):
            if (out / folder).is_dir():  # a feature set has no bottleneck features
                shutil.copytree(out / folder, copy / folder)
        shutil.copy(out / "extract.json", copy)
        command = [
            sys.executable, "-m", "fer_ray", "search-heads", "--out", scratch,
            "--backbone", backbone, "--configs", str(configurations), "--trials", str(trials),
            "--json",
        ]  # fmt: skip
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
