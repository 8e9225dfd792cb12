"""Faces found, and time per image, with the reference, the fast and the mesh profile.

    python -m benchmarks.face_profiles --data FOLDER --landmark-file FILE

Images are sampled evenly from the sorted folder. Times are CPU times of one process with one
thread, after the models have been loaded.
"""

import argparse
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import pyarrow as pa

from benchmarks.report import Table, write_result
from fer_ray.features.image_steps import ExtractImage
from fer_ray.settings.loading import load_settings
from fer_ray.settings.root import PROFILES
from fer_ray.vocabulary import Stage, Status

STATUSES = (Status.OK, Status.NO_FACE, Status.SEVERAL_FACES, Status.NO_LANDMARKS)
STAGES = (Stage.DECODE, Stage.CROP, Stage.LANDMARKS, Stage.FEATURES)
WARM_UP = 5
SUFFIXES = (".jpg", ".png")


def main() -> None:
    """Process the same images with each profile, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--landmark-file", type=Path, required=True, help="face_landmarker.task")
    parser.add_argument("--images", type=int, default=300, help="images to sample")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    files = sample_files(options.data, options.images)
    shares = Table("profile", "images", *STATUSES)
    times = Table("profile", "ms per image", *STAGES)
    for profile in PROFILES:
        counts, seconds = measure(profile, options.data, files, options.landmark_file)
        shares.add(
            profile, str(len(files)), *(f"{counts[one] / len(files):.3f}" for one in STATUSES)
        )
        milliseconds = [1000 * seconds[stage] / len(files) for stage in STAGES]
        times.add(profile, f"{sum(milliseconds):.1f}", *(f"{one:.1f}" for one in milliseconds))
    load = os.getloadavg()[0]
    protocol = (
        f"{len(files)} images, sampled evenly from {options.data.name}: share by status, then CPU "
        f"time by stage in one process with one thread. Load at the end: {load:.1f} processes, so "
        "compare the profiles with each other."
    )
    write_result(f"face-profiles-{options.data.name}", protocol, shares, times)


def sample_files(folder: Path, count: int) -> list[Path]:
    """Paths of `count` images relative to `folder`, evenly spread over the sorted ones."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    step = max(1, len(files) // count)
    return [file.relative_to(folder) for file in files[::step][:count]]


def measure(
    profile: str, root: Path, files: list[Path], landmark_file: Path
) -> tuple[Counter[str], dict[str, float]]:
    """Process images with one profile.

    Returns:
        The number of images by status, and the CPU seconds by stage.
    """
    overrides = [f"profile={profile}"]
    if profile == "mesh":
        overrides.append(f"extract.landmarks.file={landmark_file}")
    step = ExtractImage(load_settings(None, tuple(overrides)).extract)
    step.load()
    for file in files[:WARM_UP]:
        process(step, root, file, lambda _: None)
    statuses, clock = Counter[str](), StageClock()
    for file in files:
        statuses[process(step, root, file, clock.enter)] += 1
        clock.enter("")
    return statuses, clock.seconds


def process(step: ExtractImage, root: Path, file: Path, enter: Callable[[str], None]) -> str:
    """The status of one image."""
    row = pa.table({"path": [str(file)]})
    return str(step((root, row), enter)["status"][0].as_py())


class StageClock:
    """CPU seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds = defaultdict[str, float](float)
        self._stage, self._started = "", 0.0

    def enter(self, stage: str) -> None:
        """End the current stage and begin the next one; an empty name begins none."""
        now = time.process_time()
        if self._stage:
            self.seconds[self._stage] += now - self._started
        self._stage, self._started = stage, now


if __name__ == "__main__":
    main()
