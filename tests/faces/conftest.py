"""Photographs, where they are available."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import PHOTOS

Gray = NDArray[np.uint8]


@pytest.fixture(scope="session")
def portraits() -> list[Gray]:
    """40 gray photographs of 350 × 350 px, most with one face."""
    folder = PHOTOS / "dump"
    if not folder.is_dir():
        pytest.skip("no photographs available (set FER_RAY_PHOTOS)")
    files = sorted(folder.rglob("*.jpg"))[::50]
    return [np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8) for file in files]
