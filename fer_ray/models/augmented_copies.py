"""Data augmentation for SVMs: features of randomly mirrored and rotated landmarks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.samples import Samples
from fer_ray.networks.augmentation import apply_to_landmarks, draw
from fer_ray.settings.feature_sets import FEATURE_SETS, sets_of
from fer_ray.settings.networks import Augmentation
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.parquet import read_table
from fer_ray.vocabulary import N_LANDMARKS

MAX_DEGREES = 10  # in either direction, as an upright head may be tilted


def augment_samples(
    frames: Path, samples: Samples, settings: TrialSettings, crop_px: int
) -> NDArray[np.float64]:
    """Compute the features of augmented copies of each image.

    The landmarks are mirrored and rotated at random, and the features computed from the result.

    Args:
        frames: Folder of the table with the landmarks.
        samples: The images, in the order of the result.
        settings: Feature set, number of copies (`augment`) and seed.
        crop_px: Side of a crop in pixels; faces rotate about its centre.

    Returns:
        (copies, n, width).

    Raises:
        UserError: A feature set needs more than landmarks.
    """
    sets = _landmark_sets(settings.feature_set)
    points = _landmarks(frames, samples)
    augmentation = Augmentation(degrees=MAX_DEGREES, shift=0, seed=settings.seed)
    copies = []
    for number in range(settings.augment):
        augmented = np.stack(
            [
                apply_to_landmarks(draw(augmentation, name, number), face, crop_px)
                for name, face in zip(samples.image_ids, points, strict=True)
            ]
        )
        copies.append(np.hstack([FEATURE_SETS[name].compute(augmented) for name in sets]))
    return np.stack(copies)


def _landmark_sets(feature_set: str) -> tuple[str, ...]:
    sets = sets_of(feature_set)
    allowed = [
        name for name, feature in FEATURE_SETS.items() if feature.inputs == ("landmarks_xy",)
    ]
    if not set(sets) <= set(allowed):
        raise UserError(
            "--augment transforms landmarks, so it needs features of landmarks only "
            f"({', '.join(allowed)}). Use one of these, or omit --augment."
        )
    return sets


def _landmarks(frames: Path, samples: Samples) -> NDArray[np.float64]:
    """The landmarks of each sample, (n, 68, 2)."""
    table = read_table(frames, columns=["image_id", "landmarks_xy"]).to_pandas()
    rows = table.set_index("image_id").loc[samples.image_ids, "landmarks_xy"]
    return np.stack(rows.to_list()).astype(np.float64).reshape(-1, N_LANDMARKS, 2)
