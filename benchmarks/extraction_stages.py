"""Extraction stage by stage, on one core: the reference setting beside the fast profile.

    python -m benchmarks.extraction_stages --data TREE --images 200

Each frame goes through the step functions in both settings, one right after the other, so that
whatever else the machine does weighs on both; times are of the processor, not of the clock.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from benchmarks.report import Table, write_result
from fer_ray.features import steps
from fer_ray.settings.extraction import ExtractSettings, Selection
from fer_ray.settings.root import Settings
from fer_ray.sources.listing import list_source
from fer_ray.vocabulary import DESCRIBED

PROFILES: tuple[Literal["reference", "fast"], ...] = ("reference", "fast")
STAGES = ("decode", "crop", "landmarks", "features")
WARM_UP = 3  # frames that load models and caches, not counted

Box = list[int]
Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One frame in one setting: its row, and seconds of processor time by stage."""

    row: Row
    seconds: tuple[float, ...]


def measure(path: str, root: Path, settings: ExtractSettings) -> Measured:
    """Take one image through all steps."""
    size = settings.crop.size_px
    chain: tuple[Callable[[pa.Table], pa.Table], ...] = (
        partial(steps.decode, root=root, limits=settings.decode),
        partial(steps.crop, settings=settings.crop),
        partial(steps.landmarks, settings=settings.landmarks, size_px=size),
        partial(steps.features, sets=settings.features.sets, size_px=size),
    )
    table, seconds = pa.table({"path": [path]}), []
    for step in chain:
        started = time.process_time()
        table = step(table)
        seconds.append(time.process_time() - started)
    return Measured(table.to_pylist()[0], tuple(seconds))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes xywh."""
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(np.add(one[:2], one[2:]), np.add(other[:2], other[2:]))
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def landmark_distance(one: Row, other: Row) -> float:
    """Mean distance of the 68 points, in pixels of the crop."""
    apart = np.subtract(one["landmarks_xy"], other["landmarks_xy"]).reshape(-1, 2)
    return float(np.linalg.norm(apart, axis=1).mean())


def time_table(reference: list[Measured], fast: list[Measured]) -> Table:
    """Milliseconds a frame by stage."""
    table = Table("stage", "reference ms", "fast ms", "times as fast")
    slow, quick = (
        1000 * np.array([one.seconds for one in frames]).mean(axis=0)
        for frames in (reference, fast)
    )
    rows = [*zip(STAGES, slow, quick, strict=True), ("all", slow.sum(), quick.sum())]
    for name, one, other in rows:
        table.add(name, f"{one:.1f}", f"{other:.1f}", f"{one / other:.1f}")
    return table


def agreement_table(reference: list[Measured], fast: list[Measured]) -> Table:
    """How far both settings agree on the same frames."""
    pairs = [(one.row, other.row) for one, other in zip(reference, fast, strict=True)]
    both = [pair for pair in pairs if pair[0]["box_xywh"] and pair[1]["box_xywh"]]
    located = [pair for pair in pairs if all(row["status"] in DESCRIBED for row in pair)]
    boxes = [(one["box_xywh"], other["box_xywh"]) for one, other in both]
    apart = np.array([landmark_distance(*pair) for pair in located])
    found = [(one["box_xywh"] is None) == (other["box_xywh"] is None) for one, other in pairs]
    table = Table("agreement", "")
    table.add("exactly-one-face decision equal", f"{np.mean(found):.2%}")
    table.add("status equal", f"{np.mean([a['status'] == b['status'] for a, b in pairs]):.2%}")
    table.add("box identical", f"{np.mean([one == other for one, other in boxes]):.2%}")
    table.add("box IoU, mean", f"{np.mean([overlap(*pair) for pair in boxes]):.4f}")
    table.add("landmark distance, mean", f"{apart.mean():.2f} px of the crop")
    table.add("landmark distance, median", f"{np.median(apart):.2f} px of the crop")
    table.add(
        "landmark distance, 95th percentile", f"{np.percentile(apart, 95):.2f} px of the crop"
    )
    return table


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--frames", choices=["study", "first-and-peak", "all"], default="all")
    options = parser.parse_args()
    listing = list_source(options.data, Selection(frames=options.frames))
    paths = listing.table["path"].to_pylist()
    chosen = [paths[at] for at in np.linspace(0, len(paths) - 1, options.images, dtype=int)]
    settings = [Settings(profile=profile).extract for profile in PROFILES]
    measured: list[list[Measured]] = [[], []]
    for path in chosen[:WARM_UP] + chosen:
        for one, into in zip(settings, measured, strict=True):
            into.append(measure(path, listing.root, one))
    reference, fast = (frames[WARM_UP:] for frames in measured)
    described = sum(one.row["status"] in DESCRIBED for one in reference)
    write_result(
        f"extraction-stages-{options.data.name}",
        f"{len(chosen)} frames of {options.data.name} ({options.frames}), {described} of them with "
        "landmarks by the reference; one core, processor time, means over frames.",
        time_table(reference, fast),
        agreement_table(reference, fast),
    )


if __name__ == "__main__":
    main()
