"""Is extraction as quick, and as small in memory, on many images as on few?

    python -m benchmarks.flat --data TREE [--images 500 2000 20000] [--profile fast]

Each number of images is a plain folder of hard links to those of TREE, extracted by a command of
its own; its rate is of the time between the first and the last block that was kept.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from itertools import cycle, islice
from pathlib import Path

from benchmarks.baseline import watch_memory
from benchmarks.report import Table, write_result
from fer_ray.sources.walk import IMAGE_SUFFIXES
from fer_ray.storage.run_folder import RunFolder

FOLDER = 1_000  # images of one folder
PROCESSES = ("driver", "largest worker")


def main() -> None:
    """Extract each number of images, keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 2_000, 20_000])
    parser.add_argument("--profile", choices=["reference", "fast"], default="fast")
    options = parser.parse_args()
    files = sorted(file for file in options.data.rglob("*") if file.suffix in IMAGE_SUFFIXES)
    table = Table(
        "images", "seconds", "images/s once running", "driver, MiB", "largest worker, MiB"
    )
    for images in options.images:
        with tempfile.TemporaryDirectory(dir=options.data.parent) as scratch:
            source, out = Path(scratch) / "images", Path(scratch) / "run"
            link(files, source, images)
            table.add(str(images), *extracted(source, out, options.profile))
    protocol = f"Links to {len(files)} images of {options.data.name}, --profile {options.profile}."
    write_result(f"flat-{options.profile}", protocol, table)


def link(files: list[Path], root: Path, images: int) -> None:
    """Link so many images below `root`, the same again where there are fewer."""
    for number, file in enumerate(islice(cycle(files), images)):
        folder = root / f"{number // FOLDER:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(file, folder / f"{number:07d}{file.suffix}")


def extracted(source: Path, out: Path, profile: str) -> list[str]:
    """The cells of one extraction."""
    command = [sys.executable, "-m", "fer_ray", "extract", "--profile", profile]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--data", str(source), "--out", str(out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    memory: dict[str, float] = defaultdict(float)
    watcher = threading.Thread(target=watch_memory, args=(process.pid, memory))
    watcher.start()
    kept: dict[str, tuple[float, int]] = {}
    while process.poll() is None:
        for file in RunFolder(out).frames_partial.glob("*/[0-9]*.parquet"):
            first, last = map(int, file.stem.split("-"))
            kept.setdefault(file.name, (time.perf_counter(), last - first))
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    watcher.join()
    assert process.returncode == 0
    blocks = sorted(kept.values())
    rate = sum(rows for _, rows in blocks[1:]) / (blocks[-1][0] - blocks[0][0])
    return [f"{seconds:.1f}", f"{rate:.1f}", *(f"{memory[of]:.0f}" for of in PROCESSES)]


if __name__ == "__main__":
    main()
