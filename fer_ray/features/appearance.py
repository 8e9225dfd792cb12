"""Feature vectors from the pixels of a face that is aligned by its landmarks.

Functions of crops (size, size) uint8 and landmarks (68, 2) in pixels of those crops.
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
# Centres of the right eye, the left eye and the mouth in an aligned face, as x + iy. Eyes that are
# 3/8 of the side apart leave room for raised brows above and a dropped jaw below. The mouth lies
# 1.1 times that distance below them, as in an upright adult face.
_ANCHORS = np.array([40 + 44j, 88 + 44j, 64 + 97j])

HOG_CELL_PX = 16
HOG_BLOCK_PX = 32
HOG_STRIDE_PX = 16
HOG_BINS = 9  # of 20° each, unsigned
HOG_WIDTH = 7 * 7 * 4 * HOG_BINS  # blocks × cells per block × bins


def hog(landmarks_xy: Floats, crops: Sequence[Gray]) -> Floats:
    """Histograms of oriented gradients of aligned faces (Dalal and Triggs, CVPR 2005).

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.
        crops: n crops, (size, size) uint8 each.

    Returns:
        (n, 1764): blocks in column order, four cells per block, nine orientation bins per cell.
        Blocks are normalised by L2-Hys, so that lighting and contrast hardly matter.
    """
    vectors = np.zeros((len(crops), HOG_WIDTH))
    for row, (points, crop) in enumerate(zip(landmarks_xy, crops, strict=True)):
        vectors[row] = np.ravel(_descriptor().compute(align(crop, points)))
    return vectors


def mirrored_hog(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """HOG vectors (n, 1764) of the mirrored faces, up to rounding.

    Mirroring reverses the columns of blocks, the columns of cells in a block, and the orientations
    from 0 to 180°.
    """
    blocks = vectors.reshape(-1, 7, 7, 2, 2, HOG_BINS)
    return blocks[:, ::-1, :, ::-1, :, ::-1].reshape(len(vectors), HOG_WIDTH)


def align(crop: Gray, landmarks_xy: Floats) -> Gray:
    """Warp a face so that eyes and mouth lie at fixed points.

    Args:
        crop: (size, size) uint8.
        landmarks_xy: (68, 2) crop pixels.

    Returns:
        (128, 128) uint8.
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
    """The rotation, scaling and translation that brings eyes and mouth closest to their anchors.

    Least squares over the centres of both eyes and the mouth (Umeyama, IEEE PAMI 13, 1991). In the
    plane and without reflection this is the regression of one complex number on another.

    Args:
        landmarks_xy: (68, 2) crop pixels.

    Returns:
        (2, 3), from crop pixels to pixels of the aligned face; a pure translation if all points
        coincide.
    """
    parts = [landmarks_xy[part].mean(axis=0) for part in (RIGHT_EYE, LEFT_EYE, MOUTH)]
    centres = np.array([complex(*centre) for centre in parts])
    offsets, targets = centres - centres.mean(), _ANCHORS - _ANCHORS.mean()
    spread = float(np.sum(np.abs(offsets) ** 2))
    turn = complex(np.sum(offsets.conj() * targets)) / spread if spread > 0 else 1 + 0j
    shift = complex(_ANCHORS.mean() - turn * centres.mean())
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


@cache
def _descriptor() -> cv2.HOGDescriptor:
    window, block, stride, cell = (
        (side, side) for side in (FACE_PX, HOG_BLOCK_PX, HOG_STRIDE_PX, HOG_CELL_PX)
    )
    return cv2.HOGDescriptor(window, block, stride, cell, HOG_BINS)
