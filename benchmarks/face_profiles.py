"""Faces found, and time per image, with the reference, the fast and the mesh profile.

    python -m benchmarks.face_profiles --data FOLDER --landmark-file FILE

Images are sampled evenly from the sorted folder. Times are CPU times of one process with one
thread, after the models have been loaded.
"""

from collections import Counter
from pathlib import Path

import cv2
import pyarrow.compute as pc

from benchmarks.photographs import describe_load, mesh_settings, parse_options, sample_files
from benchmarks.report import Table, write_result
from benchmarks.stage_clock import StageClock
from fer_ray.execution.guarded_batches import BATCH_IMAGES
from fer_ray.features.image_steps import ImageSteps
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
    files = [options.data / file for file in sample_files(options.data, options.images)]
    profiles = {name: load_settings(None, (f"profile={name}",)).extract for name in OLDER}
    profiles["mesh"] = mesh_settings(options.landmark_file)
    shares = Table("profile", "images", *STATUSES)
    times = Table("profile", "relative to reference", "ms per image", *STAGES)
    reference = 0.0
    for profile, settings in profiles.items():
        counts, seconds = measure(settings, files)
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
    settings: ExtractSettings, files: list[Path]
) -> tuple[Counter[str], dict[Stage, float]]:
    """Process images with one profile.

    Returns:
        The number of images by status, and the CPU seconds by stage.
    """
    step = ImageSteps(settings)
    step.load()
    step(files[:WARM_UP])
    statuses, clock = Counter[str](), StageClock()
    for start in range(0, len(files), BATCH_IMAGES):
        rows = step(files[start : start + BATCH_IMAGES], clock.enter)
        clock.stop()
        statuses.update(rows.filter(pc.equal(rows["face_index"], 0))["status"].to_pylist())
    return statuses, clock.seconds


if __name__ == "__main__":
    main()
