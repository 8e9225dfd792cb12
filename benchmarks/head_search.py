"""A search of heads by the whole command: Ray's and TensorFlow's start and the finalists included.

    python -m benchmarks.head_search --out RUN_FOLDER [--backbone dlib_resnet] [--configs 50]

The run folder holds frames and the backbone's features, or the feature set of that name; nothing
in it is changed.
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
    """Time both numbers of trials and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="A run folder with features.")
    parser.add_argument("--backbone", default="dlib_resnet")
    parser.add_argument("--configs", type=int, default=50)
    parser.add_argument("--trials", type=int, nargs="+", default=TRIALS)
    options = parser.parse_args()
    table = Table("trials", "configurations raced", "seconds")
    for trials in options.trials:
        seconds = command_seconds(options.out, options.backbone, options.configs, trials)
        table.add(str(trials), str(trials * options.configs), f"{seconds:.1f}")
    images = pq.read_table(options.out / "frames", filters=[("status", "=", "ok")]).num_rows
    write_result(
        "head-search",
        f"{images} images with a face, `{options.backbone}` features, {os.cpu_count()} processors. "
        "The command's whole time.",
        table,
    )


def command_seconds(out: Path, backbone: str, configurations: int, trials: int) -> float:
    """Of `fer-ray search-heads` on a copy of the frames and features."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for folder in ("frames", "bottleneck"):
            if (out / folder).is_dir():  # a feature set needs no bottleneck
                shutil.copytree(out / folder, copy / folder)
        shutil.copy(out / "extract.json", copy)
        command = [sys.executable, "-m", "fer_ray", "search-heads", "--out", scratch, "--backbone",
                   backbone, "--configs", str(configurations), "--trials", str(trials), "--json"]  # fmt: skip  # noqa: E501
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
