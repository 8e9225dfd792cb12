"""Changed copies of training images for SVMs: faces mirrored or not, and turned a little."""

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

TURNED_DEGREES = 10  # at most, either way: a held head, not a fallen one


def changed_copies(
    frames: Path, samples: Samples, settings: TrialSettings, crop_px: int
) -> NDArray[np.float64]:
    """Features of `settings.augment` changed copies of each image.

    The landmarks are changed and the features computed anew from them.

    Args:
        frames: Where the landmarks are.
        samples: Images, in the order of the result.
        settings: Feature set, number of copies and seed.
        crop_px: Side of a crop; faces turn about its middle.

    Returns:
        (copies, n, width).

    Raises:
        UserError: A feature set is not of landmarks alone.
    """
    sets = sets_of(settings.feature_set)
    if not all(name in FEATURE_SETS and not FEATURE_SETS[name].needs_crop for name in sets):
        known = ", ".join(name for name, one in FEATURE_SETS.items() if not one.needs_crop)
        raise UserError(
            f"Changed copies are made of landmarks: take features of these alone ({known}), or no "
            "--augment."
        )
    points = _landmarks(frames, samples)
    how = Augmentation(degrees=TURNED_DEGREES, shift=0, seed=settings.seed)
    copies = []
    for number in range(settings.augment):
        changed = np.stack(
            [
                apply_to_landmarks(draw(how, name, number), face, crop_px)
                for name, face in zip(samples.image_ids, points, strict=True)
            ]
        )
        copies.append(np.hstack([FEATURE_SETS[name].compute(changed) for name in sets]))
    return np.stack(copies)


def _landmarks(frames: Path, samples: Samples) -> NDArray[np.float64]:
    """Of each sample, (n, 68, 2)."""
    table = read_table(frames, columns=["image_id", "landmarks_xy"]).to_pandas()
    chosen = table.set_index("image_id").loc[samples.image_ids, "landmarks_xy"]
    return np.stack(chosen.to_list()).astype(np.float64).reshape(-1, N_LANDMARKS, 2)
