"""Images that use only part of their bit depth: find them, and stretch them if that is safe.

Cameras store 10 to 14 bits in 16, and programs store shares from 0 to 1 as floating point. Decoded
to 8 bits, such images are almost black.
"""

from io import BytesIO
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Gray = NDArray[np.uint8]

FLAT = "no contrast"
MIN_RANGE = 64  # gray values of 256 that an image must span; 12 of 16 bits span 16
MAX_USED_BITS = {8: 6, 16: 14}  # bits that count as a part of 8 and of 16
# Ranges of floating-point and 32-bit values that are common, with the factor to 255.
WIDE_RANGES = ((0.0, 1.0, 255.0), (0.0, 255.0, 1.0), (0.0, 65535.0, 255 / 65535))


class PixelRange(NamedTuple):
    """The values that an image uses.

    Attributes:
        note: What is unusual, for the column `mode`.
        stretched: The image (height, width) uint8 with these values stretched to 0 to 255; None if
            that is not safe.
    """

    note: str
    stretched: Gray | None


def inspect_range(gray: Gray, content: bytes) -> PixelRange | None:
    """Inspect the values of a decoded image, and stretch them if they use part of the bit depth.

    Args:
        gray: The decoded image (height, width) uint8, never empty.
        content: The bytes of its file.

    Returns:
        None if the values are spread as usual.
    """
    lowest, highest, _, _ = cv2.minMaxLoc(gray)
    if lowest == highest:
        return _inspect_deep(content) or PixelRange(FLAT, None)
    if highest - lowest >= MIN_RANGE:
        return None
    return _inspect_deep(content) or _use_bits(gray, 8)


def _inspect_deep(content: bytes) -> PixelRange | None:
    """Inspect an image with 16 bits per channel."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if pixels is None or pixels.dtype != np.uint16:
        return None
    return _use_bits(pixels, 16)


def _use_bits(pixels: NDArray[np.uint8] | NDArray[np.uint16], depth: int) -> PixelRange | None:
    """Stretch an image whose values use only the lowest or only the highest bits."""
    top = 2**depth - 1
    lowest, highest = int(pixels.min()), int(pixels.max())
    from_top = top - lowest < highest  # inverted values: white is 0
    bits = max((top - lowest if from_top else highest).bit_length(), 1)
    if lowest == highest or bits > MAX_USED_BITS[depth]:
        return None
    base = top - (2**bits - 1) if from_top else 0
    values = (pixels.astype(np.float32) - base) * (255 / (2**bits - 1))
    stretched = values.round().astype(np.uint8)
    if stretched.ndim == 3:
        stretched = cv2.cvtColor(stretched, cv2.COLOR_BGR2GRAY)
    return PixelRange(f"{bits} of {depth} bits used", stretched)


def decode_wide(content: bytes) -> Gray | None:
    """Decode an image of floating-point or 32-bit values whose range is a common one.

    Returns:
        The image (height, width) uint8; None if its values are not from 0 to 1, 255 or 65,535.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            values = np.asarray(ImageOps.exif_transpose(image), dtype=np.float64)
    except Exception:  # Pillow's decoders raise many kinds on damaged files
        return None
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        return None
    for lowest, highest, factor in WIDE_RANGES:
        if values.min() >= lowest and values.max() <= highest:
            return (values * factor).round().astype(np.uint8)
    return None
