"""The networks in Google's `face_landmarker.task`, a ZIP archive of TensorFlow Lite files.

They take RGB images and return logits.
"""

import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fer_ray.errors import UserError


def read_network(file: Path, name: str) -> Any:
    """Read one network of a face landmarker for OpenCV's dnn module.

    Args:
        file: The `face_landmarker.task` file.
        name: `face_detector`, `face_landmarks_detector` or `face_blendshapes`.

    Raises:
        UserError: The file is missing, is not a face landmarker, or cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            content = archive.read(f"{name}.tflite")
    except FileNotFoundError:
        raise UserError(
            f"The face landmarker {file} does not exist. Correct the path, or download the file "
            "with `fer-ray models fetch face_landmarker`."
        ) from None
    except (zipfile.BadZipFile, KeyError, OSError) as problem:
        raise UserError(
            f"{file} is not a face landmarker ({problem}). Download face_landmarker.task with "
            "`fer-ray models fetch face_landmarker`."
        ) from None
    try:
        return cv2.dnn.readNetFromTFLite(np.frombuffer(content, np.uint8))
    except cv2.error as problem:
        raise UserError(f"OpenCV cannot read {name} in {file}: {problem}") from None


def to_blob(image: NDArray[Any]) -> NDArray[np.float32]:
    """The input of a network (1, 3, height, width) from scaled pixels, gray or RGB."""
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    shape = (1, 3, *image.shape[:2])
    return np.ascontiguousarray(np.broadcast_to(planes[None], shape), dtype=np.float32)


def to_confidence(logits: ArrayLike) -> NDArray[np.float64]:
    """The logistic function of logits: values between 0 and 1."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float64), -100, 100))))
