"""Data augmentation: random rotations, shifts and flips of a crop and of its landmarks.

Ranges and fill are those of the reference study: rotation ±50°, shifts ±20% of the side,
horizontal flip, nearest fill. A draw depends only on the seed, the image and its number, so it is
the same on every worker and in every split.
"""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.settings.networks import Augmentation
from fer_ray.vocabulary import N_LANDMARKS

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """One random transformation of an image.

    Attributes:
        degrees: Rotation about the centre; positive turns x towards y.
        shift_x: Shift to the right, as a share of the side.
        shift_y: Shift downwards, as a share of the side.
        flipped: Whether the image is mirrored left to right first.
    """

    degrees: float
    shift_x: float
    shift_y: float
    flipped: bool

    def matrix(self, side: int) -> NDArray[np.float64]:
        """The affine map (2, 3) of points in pixels, for a square image of `side` pixels."""
        centre = (side - 1) / 2
        angle = np.deg2rad(self.degrees)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        mirror = np.diag([-1.0 if self.flipped else 1.0, 1.0])
        linear = rotation @ mirror
        moved = centre + side * np.array([self.shift_x, self.shift_y])
        return np.hstack([linear, (moved - linear @ np.full(2, centre))[:, None]])


def draw(settings: Augmentation, image_id: str, number: int) -> Draw:
    """Draw `number` of an image, counted from 0."""
    digest = hashlib.sha256(image_id.encode()).digest()
    generator = np.random.default_rng([settings.seed, number, *digest])
    degrees, shift_x, shift_y = generator.uniform(-1, 1, 3) * (
        settings.degrees, settings.shift, settings.shift
    )  # fmt: skip
    flipped = settings.flip and bool(generator.random() < 0.5)
    return Draw(float(degrees), float(shift_x), float(shift_y), flipped)


def apply_to_crop(change: Draw, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Transform a gray crop (size, size) uint8; uncovered areas repeat the nearest edge."""
    size = (crop.shape[1], crop.shape[0])
    changed = cv2.warpAffine(
        crop, change.matrix(len(crop)), size,
        flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(changed, dtype=np.uint8)


def apply_to_landmarks(change: Draw, landmarks_xy: Points, side: int) -> Points:
    """Transform landmarks (68, 2) like their crop; a flip also swaps left and right points."""
    matrix = change.matrix(side)
    moved: Points = landmarks_xy @ matrix[:, :2].T + matrix[:, 2]
    return moved[MIRRORED] if change.flipped else moved


def _mirrored_order() -> NDArray[np.int64]:
    """Index of the mirror image of each point of the 68-point scheme (iBUG 300-W)."""
    order = np.arange(N_LANDMARKS)
    order[0:17] = np.arange(16, -1, -1)  # jaw
    order[17:27] = np.arange(26, 16, -1)  # brows
    order[31:36] = np.arange(35, 30, -1)  # under the nose
    order[36:48] = [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]  # eyes: corners, lids
    order[48:55] = np.arange(54, 47, -1)  # outer upper lip
    order[55:60] = np.arange(59, 54, -1)  # outer lower lip
    order[60:65] = np.arange(64, 59, -1)  # inner upper lip
    order[65:68] = np.arange(67, 64, -1)  # inner lower lip
    return order


MIRRORED = _mirrored_order()
