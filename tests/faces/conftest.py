"""The face landmarker's file, and photographs, where they are available."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import PHOTOS

Gray = NDArray[np.uint8]


@pytest.fixture(scope="session")
def landmarker_file() -> Path:
    """Google's `face_landmarker.task`."""
    file = PHOTOS / "weights" / "face_landmarker.task"
    if not file.is_file():
        pytest.skip("face_landmarker.task is not available (set FER_RAY_PHOTOS)")
    return file


@pytest.fixture(scope="session")
def portraits() -> list[Gray]:
    """40 gray photographs of 350 × 350 px, most with one face."""
    folder = PHOTOS / "dump"
    if not folder.is_dir():
        pytest.skip("no photographs available (set FER_RAY_PHOTOS)")
    files = sorted(folder.rglob("*.jpg"))[::50]
    return [np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8) for file in files]
