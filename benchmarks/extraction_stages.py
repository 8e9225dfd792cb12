"""Duration of each stage of extraction on one CPU, with the reference and the fast profile.

    python -m benchmarks.extraction_stages --data TREE --images 200

Each frame is processed with both profiles, one right after the other, so other load on the machine
affects both. Durations are CPU time.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from benchmarks.report import Table, write_result
from benchmarks.stage_clock import StageClock
from fer_ray.features.image_steps import ImageSteps
from fer_ray.settings.extraction import ExtractSettings, Selection
from fer_ray.settings.root import Settings
from fer_ray.sources.datasets.listing import list_source
from fer_ray.vocabulary import USABLE_STATUSES, Stage

PROFILES: tuple[Literal["reference", "fast"], ...] = ("reference", "fast")
WARM_UP = 3  # frames that load models and fill caches; not measured

Box = list[int]
Row = dict[str, Any]


@dataclass(frozen=True)
class MeasuredFrame:
    """One frame with one profile: its row, and the CPU seconds of each stage."""

    row: Row
    seconds: tuple[float, ...]


def measure_frame(path: str, root: Path, settings: ExtractSettings) -> MeasuredFrame:
    """Process one image with all steps."""
    cv2.setNumThreads(1)  # as in a child process
    clock = StageClock()
    table = ImageSteps(settings)([root / path], clock.enter)
    clock.stop()
    row = table.to_pylist()[0]
    return MeasuredFrame(row, tuple(clock.seconds[stage] for stage in Stage))


def intersection_over_union(first: Box, second: Box) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(np.add(first[:2], first[2:]), np.add(second[:2], second[2:]))
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)


def landmark_distance(first: Row, second: Row) -> float:
    """Mean distance between the 68 points of two rows, in pixels of the crop."""
    difference = np.subtract(first["landmarks_xy"], second["landmarks_xy"]).reshape(-1, 2)
    return float(np.linalg.norm(difference, axis=1).mean())


def time_table(reference: list[MeasuredFrame], fast: list[MeasuredFrame]) -> Table:
    """Milliseconds per frame by stage."""
    table = Table("stage", "reference, ms", "fast, ms", "speed-up")
    slow, quick = (
        1000 * np.array([frame.seconds for frame in frames]).mean(axis=0)
        for frames in (reference, fast)
    )
    rows = [*zip(Stage, slow, quick, strict=True), ("all", slow.sum(), quick.sum())]
    for stage, slow_ms, quick_ms in rows:
        table.add(stage, f"{slow_ms:.1f}", f"{quick_ms:.1f}", f"{slow_ms / quick_ms:.1f}")
    return table


def agreement_table(reference: list[MeasuredFrame], fast: list[MeasuredFrame]) -> Table:
    """Agreement of both profiles on the same frames."""
    pairs = [(slow.row, quick.row) for slow, quick in zip(reference, fast, strict=True)]
    boxes = [(slow["box_xywh"], quick["box_xywh"]) for slow, quick in pairs]
    same_decision = [(slow is None) == (quick is None) for slow, quick in boxes]
    same_status = [slow["status"] == quick["status"] for slow, quick in pairs]
    both = [(slow, quick) for slow, quick in boxes if slow and quick]
    located = [pair for pair in pairs if all(row["status"] in USABLE_STATUSES for row in pair)]
    distances = np.array([landmark_distance(*pair) for pair in located])
    overlap = np.mean([intersection_over_union(*pair) for pair in both])
    table = Table("agreement", "")
    table.add("same decision on exactly one face", f"{np.mean(same_decision):.2%}")
    table.add("same status", f"{np.mean(same_status):.2%}")
    table.add("identical box", f"{np.mean([slow == quick for slow, quick in both]):.2%}")
    table.add("box IoU, mean", f"{overlap:.4f}")
    for name, distance in (
        ("mean", distances.mean()),
        ("median", np.median(distances)),
        ("95th percentile", np.percentile(distances, 95)),
    ):
        table.add(f"landmark distance, {name}", f"{distance:.2f} px of the crop")
    return table


def main() -> None:
    """Measure both profiles and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--frames", choices=["study", "first-and-peak", "all"], default="all")
    options = parser.parse_args()
    listing = list_source(options.data, Selection(frames=options.frames))
    paths = listing.table["path"].to_pylist()
    sample = [paths[row] for row in np.linspace(0, len(paths) - 1, options.images, dtype=int)]
    profiles = [Settings(profile=profile).extract for profile in PROFILES]
    measured: list[list[MeasuredFrame]] = [[], []]
    for path in sample[:WARM_UP] + sample:
        for settings, frames in zip(profiles, measured, strict=True):
            frames.append(measure_frame(path, listing.root, settings))
    reference, fast = (frames[WARM_UP:] for frames in measured)
    usable = sum(frame.row["status"] in USABLE_STATUSES for frame in reference)
    write_result(
        f"extraction-stages-{options.data.name}",
        f"{len(sample)} frames of {options.data.name} ({options.frames}); the reference profile "
        f"locates landmarks in {usable} of them; one CPU, CPU time, means over frames.",
        time_table(reference, fast),
        agreement_table(reference, fast),
    )


if __name__ == "__main__":
    main()
