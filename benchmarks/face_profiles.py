"""Faces found, and time per image, with the reference, the fast and the mesh profile.

    python -m benchmarks.face_profiles --data FOLDER --landmark-file FILE

Images are sampled evenly from the sorted folder. Times are CPU times of one process with one
thread, after the models have been loaded.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import pyarrow as pa

from benchmarks.photographs import describe_load, mesh_settings, parse_options, sample_files
from benchmarks.report import Table, write_result
from fer_ray.features.image_steps import ExtractImage
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.loading import load_settings
from fer_ray.vocabulary import Stage, Status

STATUSES = (Status.OK, Status.NO_FACE, Status.SEVERAL_FACES, Status.NO_LANDMARKS)
STAGES = (Stage.DECODE, Stage.CROP, Stage.LANDMARKS, Stage.FEATURES)
OLDER = ("reference", "fast")
WARM_UP = 5


def main() -> None:
    """Process the same images with each profile, and write the tables."""
    options = parse_options(__doc__, images=300)
    cv2.setNumThreads(1)
    files = sample_files(options.data, options.images)
    profiles = {name: load_settings(None, (f"profile={name}",)).extract for name in OLDER}
    profiles["mesh"] = mesh_settings(options.landmark_file)
    shares = Table("profile", "images", *STATUSES)
    times = Table("profile", "relative to reference", "ms per image", *STAGES)
    reference = 0.0
    for profile, settings in profiles.items():
        counts, seconds = measure(settings, options.data, files)
        shares.add(
            profile, str(len(files)), *(f"{counts[one] / len(files):.3f}" for one in STATUSES)
        )
        milliseconds = [1000 * seconds[stage] / len(files) for stage in STAGES]
        total = sum(milliseconds)
        reference = reference or total
        times.add(
            profile,
            f"{total / reference:.2f}",
            f"{total:.1f}",
            *(f"{one:.1f}" for one in milliseconds),
        )
    protocol = (
        f"{len(files)} images, sampled evenly from {options.data.name}: share by status, then CPU "
        f"time by stage in one process with one thread. {describe_load()}, so compare the profiles "
        "with each other."
    )
    write_result(f"face-profiles-{options.data.name}", protocol, shares, times)


def measure(
    settings: ExtractSettings, root: Path, files: list[Path]
) -> tuple[Counter[str], dict[str, float]]:
    """Process images with one profile.

    Returns:
        The number of images by status, and the CPU seconds by stage.
    """
    step = ExtractImage(settings)
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
