"""A perceptual hash: images that look alike have hashes that differ in few bits."""

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_SIDE = 8  # the hash has HASH_SIDE² = 64 bits


def dhash(gray: NDArray[np.uint8]) -> int:
    """Difference hash: whether brightness grows from each cell to the next one on its right.

    The image is averaged down to 8 rows of 9 cells; each of the 64 neighbouring pairs gives a bit,
    by row, the first in the highest place. Light, contrast, size and compression change few bits.
    Source: N. Krawetz, "Kind of like that", The Hacker Factor Blog, 2013.

    Args:
        gray: (height, width) uint8, at least 8 × 9.

    Returns:
        0 … 2⁶⁴ − 1.
    """
    cells = cv2.resize(gray, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    bits = cells[:, 1:] > cells[:, :-1]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
