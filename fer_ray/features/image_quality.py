"""Measures by which poor images of faces can be filtered."""

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]

MEASURED_PX = 128  # side at which sharpness is measured, so that it does not depend on the crop's


def sharpness(crop: Gray) -> float:
    """Variance of the Laplacian of a crop (Pech-Pacheco et al., ICPR 2000).

    Args:
        crop: (size, size) uint8.

    Returns:
        0 for a plain area; small for a face that is blurred or was enlarged. It also depends on
        the camera, so choose a threshold on images of the same source.
    """
    small = cv2.resize(crop, (MEASURED_PX, MEASURED_PX), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_32F).var())


def brightness(crop: Gray) -> float:
    """Mean gray value of a crop (size, size) uint8, from 0 (black) to 255 (white)."""
    return float(crop.mean())
