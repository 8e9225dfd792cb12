"""Feature vectors from the pixels of a face that is aligned by its landmarks.

Functions of crops (size, size) uint8 and landmarks (68, 2) in pixels of those crops.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

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
EYE_DISTANCE_PX = 48

HOG_BINS = 9  # of 20° each, unsigned


def hog(landmarks_xy: Floats, crops: Sequence[Gray]) -> Floats:
    """Histograms of oriented gradients of aligned faces (Dalal and Triggs, CVPR 2005).

    Cells have 16 px and blocks 32 px, with a stride of 16 px.

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.
        crops: n crops, (size, size) uint8 each.

    Returns:
        (n, 1764): blocks in column order, four cells per block, nine orientation bins per cell.
        Blocks are normalised by L2-Hys, so that lighting and contrast hardly matter.
    """
    return _hog_of_faces(landmarks_xy, crops, cell_px=16, stride_px=16)


def hog8(landmarks_xy: Floats, crops: Sequence[Gray]) -> Floats:
    """Like `hog`, with cells of 8 px: the finest level of a pyramid.

    Concatenated histograms of several cell sizes form a pyramid (PHOG: Bosch, Zisserman and Munoz,
    CIVR 2007; on faces: Dhall et al., FG 2011). Blocks have 16 px and do not overlap, so that each
    cell occurs once.

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.
        crops: n crops, (size, size) uint8 each.

    Returns:
        (n, 2304), in the order of `hog`.
    """
    return _hog_of_faces(landmarks_xy, crops, cell_px=8, stride_px=16)


def hog32(landmarks_xy: Floats, crops: Sequence[Gray]) -> Floats:
    """Like `hog`, with cells of 32 px: the coarsest level of a pyramid.

    Blocks have 64 px, with a stride of 32 px.

    Args:
        landmarks_xy: (n, 68, 2) crop pixels.
        crops: n crops, (size, size) uint8 each.

    Returns:
        (n, 324), in the order of `hog`.
    """
    return _hog_of_faces(landmarks_xy, crops, cell_px=32, stride_px=32)


def _hog_of_faces(
    landmarks_xy: Floats, crops: Sequence[Gray], cell_px: int, stride_px: int
) -> Floats:
    descriptor = hog_descriptor(FACE_PX, cell_px, stride_px)
    vectors = np.zeros((len(crops), descriptor.getDescriptorSize()))
    for row, (points, crop) in enumerate(zip(landmarks_xy, crops, strict=True)):
        vectors[row] = np.ravel(descriptor.compute(align(crop, points)))
    return vectors


@cache
def hog_descriptor(window_px: int, cell_px: int, stride_px: int) -> cv2.HOGDescriptor:
    """The descriptor of a square window, with blocks of 2 × 2 cells.

    Args:
        window_px: Side of the window.
        cell_px: Side of a cell.
        stride_px: Distance between blocks.
    """
    window, block, stride, cell = (
        (side, side) for side in (window_px, 2 * cell_px, stride_px, cell_px)
    )
    return cv2.HOGDescriptor(window, block, stride, cell, HOG_BINS)


def mirrored_hog(vectors: NDArray[Any]) -> NDArray[Any]:
    """HOG vectors of the mirrored windows, up to rounding.

    Mirroring reverses the columns of blocks, the columns of cells in a block, and the orientations
    from 0 to 180°.

    Args:
        vectors: (n, width), of `hog`, `hog8` or `hog32`.
    """
    side = math.isqrt(vectors.shape[1] // (4 * HOG_BINS))
    blocks = vectors.reshape(-1, side, side, 2, 2, HOG_BINS)
    return blocks[:, ::-1, :, ::-1, :, ::-1].reshape(vectors.shape)


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
