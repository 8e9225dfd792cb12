"""Reading images in tests, independently of the package."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def read_gray(file: Path) -> NDArray[np.uint8]:
    """Gray pixels (height, width) of an image, read as colour and converted by OpenCV."""
    pixels = cv2.imread(str(file))
    if pixels is None:
        raise ValueError(f"OpenCV cannot read {file}.")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
