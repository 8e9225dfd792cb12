"""Rotated squares of an image, and how they are cut out."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A rotated square of an image.

    Attributes:
        centre: (2,) x and y in image pixels.
        side: In pixels.
        angle: Clockwise rotation of its upper edge, in radians.
    """

    centre: Floats
    side: float
    angle: float

    def to_image(self, size_px: int) -> Floats:
        """The affine map (2, 3) from a square of `size_px` pixels to the image."""
        scale = self.side / size_px
        cos, sin = scale * np.cos(self.angle), scale * np.sin(self.angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        return np.column_stack([turn, self.centre - turn @ np.full(2, size_px / 2)])

    def to_square(self, points: Floats, size_px: int) -> Floats:
        """Convert points from image pixels to pixels of the square.

        Args:
            points: (n, 2) x and y, or (n, 3) with a depth, which is scaled.
            size_px: Side of the square.
        """
        inverse = cv2.invertAffineTransform(self.to_image(size_px))
        placed = points[:, :2] @ inverse[:, :2].T + inverse[:, 2]
        return np.column_stack([placed, points[:, 2:] * (size_px / self.side)])

    def cut(self, image: Image, size_px: int) -> Image:
        """The square as an image of `size_px` pixels; pixels outside of the image are replicated.

        Args:
            image: Gray (height, width) or RGB (height, width, 3) uint8.
            size_px: Side of the result.
        """
        factor = max(1, int(self.side / size_px))  # bilinear sampling would skip pixels
        pixels = cv2.warpAffine(
            image,
            self.to_image(factor * size_px),
            (factor * size_px, factor * size_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if factor > 1:
            pixels = cv2.resize(pixels, (size_px, size_px), interpolation=cv2.INTER_AREA)
        return np.asarray(pixels, dtype=np.uint8)
