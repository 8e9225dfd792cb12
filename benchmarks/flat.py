"""Rate and memory of extraction for small and large numbers of images.

    python -m benchmarks.flat --data TREE [--images 500 2000 20000] [--profile fast]

For each number, a plain folder of hard links to the images of TREE is extracted by a separate
command. Its rate is measured between the first and the last block that it stores.
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
from fer_ray.sources.image_files import IMAGE_SUFFIXES
from fer_ray.storage.run_folder import RunFolder

FOLDER_IMAGES = 1_000
PROCESSES = ("driver", "largest worker")


def main() -> None:
    """Extract each number of images and write the table."""
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
            link_images(files, source, images)
            table.add(str(images), *measure_extraction(source, out, options.profile))
    protocol = f"Links to {len(files)} images of {options.data.name}, --profile {options.profile}."
    write_result(f"flat-{options.profile}", protocol, table)


def link_images(files: list[Path], root: Path, images: int) -> None:
    """Create `images` hard links below `root`, repeating the files if there are fewer."""
    for number, file in enumerate(islice(cycle(files), images)):
        folder = root / f"{number // FOLDER_IMAGES:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(file, folder / f"{number:07d}{file.suffix}")


def measure_extraction(source: Path, out: Path, profile: str) -> list[str]:
    """Run one extraction and return its cells of the table."""
    command = [sys.executable, "-m", "fer_ray", "extract", "--profile", profile]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--data", str(source), "--out", str(out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    memory: dict[str, float] = defaultdict(float)
    watcher = threading.Thread(target=watch_memory, args=(process.pid, memory))
    watcher.start()
    stored: dict[str, tuple[float, int]] = {}  # time and rows by file of a block
    while process.poll() is None:
        for file in RunFolder(out).frames_partial.glob("*/[0-9]*.parquet"):
            first, last = map(int, file.stem.split("-"))
            stored.setdefault(file.name, (time.perf_counter(), last - first))
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    watcher.join()
    assert process.returncode == 0
    blocks = sorted(stored.values())
    rate = sum(rows for _, rows in blocks[1:]) / (blocks[-1][0] - blocks[0][0])
    return [f"{seconds:.1f}", f"{rate:.1f}", *(f"{memory[name]:.0f}" for name in PROCESSES)]


if __name__ == "__main__":
    main()
