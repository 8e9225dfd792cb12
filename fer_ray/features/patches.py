"""Feature vectors from the pixels around the mouth, the eyes with the brows, and the nose.

Functions of crops (size, size) uint8 and landmarks (68, 2) in pixels of those crops.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.features.appearance import EYE_DISTANCE_PX, hog_descriptor, mirrored_hog, similarity

Floats = NDArray[np.float64]
Gray = NDArray[np.uint8]

PATCH_PX = 96  # side of a patch
CELL_PX = 12
STRIDE_PX = 24  # as wide as a block: each cell occurs once
_CENTRE = (PATCH_PX - 1) / 2

# Points in the middle of each region, and its side in units of the distance between the eyes.
REGIONS = {
    "mouth": (range(48, 68), 1.6),  # as wide as a broad smile
    "eyes": ((*range(17, 27), *range(36, 48)), 2.1),  # from temple to temple, with raised brows
    "nose": (range(27, 36), 1.3),  # with the folds next to the nostrils
}


def hog_patches(landmarks_xy: Floats, crops: Sequence[Gray]) -> Floats:
    """Histograms of oriented gradients around mouth, eyes with brows, and nose.

    Each patch has the rotation and scale of the aligned face and follows the landmarks of its
    region, so that its cells show the same part of the region in every face. Describing patches at
    landmarks follows Tian, Kanade and Cohn (Evaluation of Gabor-wavelet-based facial action unit
    recognition, FG 2002); HOG is of Dalal and Triggs (CVPR 2005).

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.
        crops: n crops, (size, size) uint8 each.

    Returns:
        (n, 1728): 576 for each of `REGIONS`, in the order of `appearance.hog`.
    """
    descriptor = hog_descriptor(PATCH_PX, CELL_PX, STRIDE_PX)
    width = descriptor.getDescriptorSize()
    vectors = np.zeros((len(crops), len(REGIONS), width))
    for row, (points, crop) in enumerate(zip(landmarks_xy, crops, strict=True)):
        for column, region in enumerate(REGIONS):
            vectors[row, column] = np.ravel(descriptor.compute(patch(crop, points, region)))
    return vectors.reshape(len(crops), len(REGIONS) * width)


def patch(crop: Gray, landmarks_xy: Floats, region: str) -> Gray:
    """Cut one of `REGIONS` from a face, rotated and scaled as the aligned face.

    Args:
        crop: (size, size) uint8.
        landmarks_xy: (68, 2) crop pixels.
        region: Name of the region.

    Returns:
        (96, 96) uint8.
    """
    points, side = REGIONS[region]
    turn = similarity(landmarks_xy)[:, :2] * PATCH_PX / (side * EYE_DISTANCE_PX)
    shift = _CENTRE - turn @ landmarks_xy[list(points)].mean(axis=0)
    return np.asarray(
        cv2.warpAffine(
            crop,
            np.column_stack([turn, shift]),
            (PATCH_PX, PATCH_PX),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.uint8,
    )


def mirrored_patches(vectors: NDArray[Any]) -> NDArray[Any]:
    """The vectors (n, 1728) of `hog_patches` of the mirrored faces, up to rounding."""
    patches = vectors.reshape(len(vectors) * len(REGIONS), -1)
    return mirrored_hog(patches).reshape(vectors.shape)
