"""Data augmentation for SVMs: features of mirrored and slightly rotated faces."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.networks.bottleneck.augmentation import Draw, apply_to_landmarks, draw
from fer_ray.settings.feature_sets import FEATURE_SETS, can_mirror, sets_of
from fer_ray.settings.networks import Augmentation
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import frames_record
from fer_ray.vocabulary import N_LANDMARKS

MAX_DEGREES = 10  # in either direction, as an upright head may be tilted
LANDMARKS_ONLY = ("landmarks_xy",)
MIRROR = Draw(degrees=0, shift_x=0, shift_y=0, flipped=True)

Floats = NDArray[np.float64]


def training_copies(out: Path, samples: Samples, settings: TrialSettings) -> Floats | None:
    """Compute the features of the augmented copies of each image.

    Args:
        out: Run folder with the frames.
        samples: The images, in the order of the result.
        settings: Feature set, `mirror`, `augment` and seed.

    Returns:
        (copies, n, width): the mirrored copies, then those of `augment`. None without copies.

    Raises:
        UserError: A feature set has no mirrored version, or `augment` needs features of landmarks.
    """
    if not settings.mirror and not settings.augment:
        return None
    crop_px = frames_record(out)["settings"]["crop"]["size_px"]
    points = _landmarks(out / "frames", samples)
    copies = []
    if settings.mirror:
        copies.append(mirrored_features(settings.feature_set, samples.features, points, crop_px))
    if settings.augment:
        copies.extend(_random_copies(samples, points, settings, crop_px))
    return np.stack(copies)


def with_mirrored(out: Path, samples: Samples, feature_set: str) -> Samples:
    """Add the features of the mirrored faces to samples, if `can_mirror`."""
    if not can_mirror(feature_set):
        return samples
    copies = training_copies(out, samples, TrialSettings(feature_set=feature_set, mirror=True))
    return samples if copies is None else replace(samples, mirrored=copies[0])


def mirrored_features(
    feature_set: str, features: Floats, landmarks_xy: Floats, crop_px: int
) -> Floats:
    """The features of the mirrored faces.

    Features of landmarks are computed from mirrored landmarks, of which left and right are
    exchanged. Other features are rearranged, which is equal up to rounding and interpolation.

    Args:
        feature_set: Name of a feature set or union.
        features: Features of the faces (n, width).
        landmarks_xy: (n, 68, 2) crop pixels.
        crop_px: Side of a crop.

    Returns:
        (n, width).

    Raises:
        UserError: A set has no mirrored version.
    """
    sets = sets_of(feature_set)
    if not can_mirror(feature_set):
        absent = [name for name in sets if name not in FEATURE_SETS]
        raise UserError(
            "--mirror needs the features of mirrored faces, which cannot be computed for "
            f"{', '.join(absent)}. Use feature sets among {', '.join(FEATURE_SETS)}, or omit "
            "--mirror."
        )
    mirrored = _apply(MIRROR, landmarks_xy, crop_px)
    ends = np.cumsum([FEATURE_SETS[name].width for name in sets])
    parts = np.split(features, ends[:-1], axis=1)
    return np.hstack(
        [_mirror(name, part, mirrored) for name, part in zip(sets, parts, strict=True)]
    )


def _mirror(name: str, features: Floats, mirrored_xy: Floats) -> Any:
    feature_set = FEATURE_SETS[name]
    if feature_set.inputs == LANDMARKS_ONLY:
        return feature_set.compute(mirrored_xy)
    return feature_set.mirror(features)


def _random_copies(
    samples: Samples, landmarks_xy: Floats, settings: TrialSettings, crop_px: int
) -> list[Floats]:
    """Features of landmarks that are mirrored and rotated at random, one array per copy."""
    sets = _landmark_sets(settings.feature_set)
    augmentation = Augmentation(degrees=MAX_DEGREES, shift=0, seed=settings.seed)
    copies = []
    for number in range(settings.augment):
        draws = [draw(augmentation, name, number) for name in samples.image_ids]
        augmented = np.stack(
            [
                apply_to_landmarks(change, face, crop_px)
                for change, face in zip(draws, landmarks_xy, strict=True)
            ]
        )
        copies.append(np.hstack([FEATURE_SETS[name].compute(augmented) for name in sets]))
    return copies


def _landmark_sets(feature_set: str) -> tuple[str, ...]:
    sets = sets_of(feature_set)
    allowed = [name for name, feature in FEATURE_SETS.items() if feature.inputs == LANDMARKS_ONLY]
    if not set(sets) <= set(allowed):
        raise UserError(
            "--augment transforms landmarks, so it needs features of landmarks only "
            f"({', '.join(allowed)}). Use one of these, or --mirror instead of --augment."
        )
    return sets


def _apply(change: Draw, landmarks_xy: Floats, crop_px: int) -> Floats:
    return np.stack([apply_to_landmarks(change, face, crop_px) for face in landmarks_xy])


def _landmarks(frames: Path, samples: Samples) -> Floats:
    """The landmarks of each sample, (n, 68, 2)."""
    table = read_table(frames, columns=["image_id", "landmarks_xy"]).to_pandas()
    rows = table.set_index("image_id").loc[samples.image_ids, "landmarks_xy"]
    return np.stack(rows.to_list()).astype(np.float64).reshape(-1, N_LANDMARKS, 2)
