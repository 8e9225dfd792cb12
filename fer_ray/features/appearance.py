"""Feature vectors from the pixels of a face that is brought into place by its landmarks.

Functions on crops (size, size) uint8 and landmarks (68, 2) in pixels of those crops.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.features.geometry import LEFT_EYE, RIGHT_EYE

Floats = NDArray[np.float64]
Gray = NDArray[np.uint8]

FACE_PX = 128  # side of an aligned face
MOUTH = slice(48, 68)
# Where the centres of right eye, left eye and mouth come to lie in an aligned face, as x + iy. Eyes
# at 3/8 of the side apart leave room for raised brows above and for a dropped jaw below; the mouth
# lies 1.1 times that distance beneath them, as in an upright adult face.
_ANCHORS = np.array([40 + 44j, 88 + 44j, 64 + 97j])

HOG_CELL_PX = 16
HOG_BLOCK_PX = 32
HOG_STRIDE_PX = 16
HOG_BINS = 9  # of 20° each, unsigned
HOG_WIDTH = 7 * 7 * 4 * HOG_BINS  # blocks × cells of a block × bins


def hog(landmarks_xy: Floats, crops: Sequence[Gray]) -> Floats:
    """Histograms of oriented gradients of each aligned face (Dalal and Triggs, CVPR 2005).

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.
        crops: n of them, (size, size) each.

    Returns:
        (n, 1764): blocks by column, in each its four cells, in each nine bins of direction; a block
        is normalised by L2-Hys, so that light and contrast hardly matter.
    """
    vectors = np.zeros((len(crops), HOG_WIDTH))
    for row, (points, crop) in enumerate(zip(landmarks_xy, crops, strict=True)):
        vectors[row] = np.ravel(_descriptor().compute(align(crop, points)))
    return vectors


def mirrored_hog(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The HOG vectors (n, 1764) that the mirrored faces would have, but for rounding.

    Blocks by column, cells of a block by column, and directions of 0 … 180° all change ends.
    """
    blocks = vectors.reshape(-1, 7, 7, 2, 2, HOG_BINS)
    return blocks[:, ::-1, :, ::-1, :, ::-1].reshape(len(vectors), HOG_WIDTH)


def align(crop: Gray, landmarks_xy: Floats) -> Gray:
    """The face of one crop with eyes and mouth brought to fixed points: (128, 128) uint8.

    Args:
        crop: (size, size).
        landmarks_xy: (68, 2) crop pixels.
    """
    return np.asarray(
        cv2.warpAffine(
            crop,
            similarity(landmarks_xy),
            (FACE_PX, FACE_PX),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.uint8,
    )


def similarity(landmarks_xy: Floats) -> Floats:
    """The turn, scale and shift that brings eyes and mouth closest to their places.

    Least squares over the centres of both eyes and of the mouth (Umeyama, IEEE PAMI 13, 1991; in
    the plane and without reflection that is the regression of one complex number on another).

    Args:
        landmarks_xy: (68, 2) crop pixels.

    Returns:
        (2, 3), from crop pixels to pixels of the aligned face. Where all points fall together it
        only shifts.
    """
    parts = [landmarks_xy[part].mean(axis=0) for part in (RIGHT_EYE, LEFT_EYE, MOUTH)]
    found = np.array([complex(*centre) for centre in parts])
    offsets, wanted = found - found.mean(), _ANCHORS - _ANCHORS.mean()
    spread = float(np.sum(np.abs(offsets) ** 2))
    turn = complex(np.sum(offsets.conj() * wanted)) / spread if spread > 0 else 1 + 0j
    shift = complex(_ANCHORS.mean() - turn * found.mean())
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


@cache
def _descriptor() -> cv2.HOGDescriptor:
    window, block, stride, cell = (
        (side, side) for side in (FACE_PX, HOG_BLOCK_PX, HOG_STRIDE_PX, HOG_CELL_PX)
    )
    return cv2.HOGDescriptor(window, block, stride, cell, HOG_BINS)
