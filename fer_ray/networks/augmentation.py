"""Random draws of an image: turned, shifted, mirrored. Images and landmarks alike.

Ranges and fill are the study's: rotation ±50°, shifts ±20 % of the side, horizontal flip, nearest
fill, nothing else. A draw is a pure function of seed, image and its own number, so that it is the
same on any worker, and the training part of any split finds its draws already made.
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
    """One way to change an image.

    Attributes:
        degrees: Turned about its centre; positive turns x towards y.
        shift_x: To the right, as a share of the side.
        shift_y: Downwards.
        flipped: Mirrored left to right, before the rest.
    """

    degrees: float
    shift_x: float
    shift_y: float
    flipped: bool

    def matrix(self, side: int) -> NDArray[np.float64]:
        """The map of points (2, 3), in pixels of a square image of that side."""
        centre = (side - 1) / 2
        angle = np.deg2rad(self.degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        mirror = np.diag([-1.0 if self.flipped else 1.0, 1.0])
        linear = turn @ mirror
        moved = centre + side * np.array([self.shift_x, self.shift_y])
        return np.hstack([linear, (moved - linear @ np.full(2, centre))[:, None]])


def draw(settings: Augmentation, image_id: str, number: int) -> Draw:
    """The draw of that number of an image."""
    digest = hashlib.sha256(image_id.encode()).digest()
    generator = np.random.default_rng([settings.seed, number, *digest])
    degrees, shift_x, shift_y = generator.uniform(-1, 1, 3) * (
        settings.degrees, settings.shift, settings.shift
    )  # fmt: skip
    flipped = settings.flip and bool(generator.random() < 0.5)
    return Draw(float(degrees), float(shift_x), float(shift_y), flipped)


def apply_to_crop(how: Draw, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A gray crop (size, size) uint8, changed; what comes into view repeats the nearest edge."""
    size = (crop.shape[1], crop.shape[0])
    moved = cv2.warpAffine(
        crop, how.matrix(len(crop)), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, dtype=np.uint8)


def apply_to_landmarks(how: Draw, landmarks_xy: Points, side: int) -> Points:
    """Landmarks (68, 2) of a crop, changed alike; a mirrored face has its points renamed."""
    matrix = how.matrix(side)
    moved: Points = landmarks_xy @ matrix[:, :2].T + matrix[:, 2]
    return moved[MIRRORED] if how.flipped else moved


def _mirrored_order() -> NDArray[np.int64]:
    """Where each point of the 68-point scheme (iBUG 300-W) lies on the face in a mirror."""
    order = np.arange(N_LANDMARKS)
    order[0:17] = np.arange(16, -1, -1)  # jaw
    order[17:27] = np.arange(26, 16, -1)  # brows
    order[31:36] = np.arange(35, 30, -1)  # under the nose
    order[36:48] = [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]  # eyes: corners, lids
    order[48:55] = np.arange(54, 47, -1)  # upper lip, outside
    order[55:60] = np.arange(59, 54, -1)  # lower lip, outside
    order[60:65] = np.arange(64, 59, -1)  # upper lip, inside
    order[65:68] = np.arange(67, 64, -1)  # lower lip, inside
    return order


MIRRORED = _mirrored_order()
