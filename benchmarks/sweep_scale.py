"""Sweeps of many small files: the cost per image, and the cost of a sweep that finds nothing new.

Each image is a tiny picture of distinct noise, so the durations are those of everything but the
work on an image: listing, planning, reading, tasks and commits. A second folder contains many links
to a few images, for listing and planning alone.

    python -m benchmarks.sweep_scale --images 1000 5000 20000 --links 1000000
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.report import Table, write_result

SIDE = 24  # pixels
FOLDER_IMAGES = 1_000
# Each image is rejected by its header, which leaves everything but its processing.
REJECT_ALL = ("--set", "extract.decode.max_pixels=1", "--set", "sweep.fuse_images=0",
              "--max-error-share", "1")  # fmt: skip
STEPS = ("list", "plan", "process", "publish", "tidy")


def write_images(root: Path, images: int) -> None:
    """Write distinct pictures of noise, in folders of `FOLDER_IMAGES`."""
    generator = np.random.default_rng(0)
    for number in range(images):
        folder = root / f"{number // FOLDER_IMAGES:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (SIDE, SIDE), np.uint8)
        (folder / f"{number:07d}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def write_links(root: Path, links: int, targets: Path) -> None:
    """Create symbolic links to the images below `targets`."""
    files = sorted(targets.rglob("*.png"))
    for number in range(links):
        folder = root / f"{number // FOLDER_IMAGES:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:07d}.png").symlink_to(files[number % len(files)])


def run_sweep(source: Path, store: Path, *options: str) -> dict[str, Any]:
    """Run one sweep in a separate process and return its manifest."""
    paths = ("--source", str(source), "--store", str(store))
    command = [sys.executable, "-m", "fer_ray", "sweep", "--profile", "fast", "--json", *paths]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def add_sweep(table: Table, name: str, manifest: dict[str, Any]) -> None:
    """Append the figures of a sweep."""
    timings, listed = manifest["timings"], manifest["listed"]
    seconds = [timings.get(step, 0.0) for step in STEPS]
    files = sum(entry["files"] for entry in manifest["tables"].values())
    table.add(
        name, f"{listed:,}", f"{manifest['described']:,}", *(f"{step:.1f}" for step in seconds),
        f"{timings['total']:.1f}", f"{1e3 * sum(seconds) / listed:.2f}",
        str(manifest["driver_peak_mib"]), str(files),
    )  # fmt: skip


def main() -> None:
    """Run the sweeps and write the table."""
    parser = argparse.ArgumentParser(description="Sweeps of many small files")
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 5_000, 20_000])
    parser.add_argument("--links", type=int, default=1_000_000)
    options = parser.parse_args()
    table = Table("sweep", "images", "described", *(f"{step}, s" for step in STEPS), "total, s",
                  "ms per image", "driver, MiB", "files")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for images in options.images:
            source = scratch / f"images{images}"
            write_images(source, images)
            add_sweep(table, "first", run_sweep(source, scratch / f"store{images}"))
            rejecting = run_sweep(source, scratch / f"rejected{images}", *REJECT_ALL)
            add_sweep(table, "first, all rejected", rejecting)
        write_links(scratch / "links", options.links, scratch / f"images{options.images[0]}")
        for name in ("first, links", "nothing new"):
            add_sweep(table, name, run_sweep(scratch / "links", scratch / "store"))
    protocol = (
        f"Distinct pictures of {SIDE}×{SIDE} noise; links: to {options.images[0]:,} of them. "
        "'total' includes the start of Ray; 'ms per image' covers the steps alone. 'driver' is the "
        f"peak resident memory. Load {os.getloadavg()[0]:.1f}."
    )
    write_result("sweep-scale", protocol, table)


if __name__ == "__main__":
    main()
