"""Sweeps of many small files: is the cost of an image flat, and what does a no-op sweep cost?

Every image is a tiny picture of noise of its own, so what is measured is all that surrounds the
work on an image: listing, planning, reading, tasks, commits. A second tree holds many links to few
of them, for listing and planning alone.

    python -m benchmarks.sweep_scale --images 1000 5000 20000 --links 100000
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
FOLDER = 1_000  # images of one folder
# Every image is refused by its header, so that what is left is what surrounds its description.
REFUSED = ("--set", "extract.decode.max_pixels=1", "--set", "sweep.fuse_images=0",
           "--max-error-share", "1")  # fmt: skip
STEPS = ("list", "plan", "read", "describe", "publish", "tidy")


def draw(root: Path, images: int) -> None:
    """Write so many different pictures of noise, in folders."""
    generator = np.random.default_rng(0)
    for number in range(images):
        folder = root / f"{number // FOLDER:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (SIDE, SIDE), np.uint8)
        (folder / f"{number:07d}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def link(root: Path, links: int, targets: Path) -> None:
    """Make so many links to the images below `targets`."""
    files = sorted(targets.rglob("*.png"))
    for number in range(links):
        folder = root / f"{number // FOLDER:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:07d}.png").symlink_to(files[number % len(files)])


def sweep(source: Path, store: Path, *options: str) -> dict[str, Any]:
    """One sweep in a process of its own; its manifest."""
    where = ("--source", str(source), "--store", str(store))
    command = [sys.executable, "-m", "fer_ray", "sweep", "--profile", "fast", "--json", *where]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def measured(table: Table, name: str, told: dict[str, Any]) -> None:
    """Append a sweep's figures."""
    seconds = [told["timings"].get(step, 0.0) for step in STEPS]
    worked = sum(seconds)
    table.add(
        name, f"{told['listed']:,}", f"{told['described']:,}", *(f"{one:.1f}" for one in seconds),
        f"{told['timings']['total']:.1f}", f"{1e3 * worked / told['listed']:.2f}",
        str(told["driver_peak_mib"]), str(sum(one["files"] for one in told["tables"].values())),
    )  # fmt: skip


def main() -> None:
    """Measure, print, and keep a dated file."""
    parser = argparse.ArgumentParser(description="Sweeps of many small files")
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 5_000, 20_000])
    parser.add_argument("--links", type=int, default=100_000)
    options = parser.parse_args()
    table = Table("sweep", "images", "described", *(f"{step} s" for step in STEPS), "total s",
                  "ms an image", "driver MiB", "files")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for images in options.images:
            draw(scratch / f"images{images}", images)
            told = sweep(scratch / f"images{images}", scratch / f"store{images}")
            measured(table, "first", told)
            told = sweep(scratch / f"images{images}", scratch / f"refused{images}", *REFUSED)
            measured(table, "first, all refused", told)
        link(scratch / "links", options.links, scratch / f"images{options.images[0]}")
        for name in ("first, links", "nothing new"):
            measured(table, name, sweep(scratch / "links", scratch / "store"))
    protocol = (
        f"Pictures of {SIDE}×{SIDE} noise, each its own; links: to {options.images[0]:,} of them. "
        "'total' has Ray's start, 'ms an image' has the steps alone. Driver MiB: most resident at "
        f"once. Load {os.getloadavg()[0]:.1f}."
    )
    write_result("sweep-scale", protocol, table)


if __name__ == "__main__":
    main()
