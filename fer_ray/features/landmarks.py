"""68 facial landmarks of a face crop, with dlib."""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.config import Landmarks
from fer_ray.contracts import N_LANDMARKS
from fer_ray.errors import UserError

PREDICTOR_FILE = "shape_predictor_68_face_landmarks.dat"


class LandmarkLocator:
    """dlib's frontal face detector and 68-point shape predictor (Kazemi and Sullivan, CVPR 2014).

    Raises:
        UserError: dlib or the model is missing, or the file is no 68-point model.
    """

    def __init__(self, settings: Landmarks) -> None:
        dlib = import_dlib()
        file = model_file(settings.model)
        self._upsample = settings.upsample
        self._detector = dlib.get_frontal_face_detector()
        try:
            self._predictor = dlib.shape_predictor(str(file))
        except RuntimeError as problem:
            raise UserError(f"{file} is no dlib shape predictor: {problem}") from None
        parts = self._predictor(np.zeros((8, 8), np.uint8), dlib.rectangle(0, 0, 7, 7)).num_parts
        if parts != N_LANDMARKS:
            raise UserError(f"{file} places {parts} points; a model of {N_LANDMARKS} is needed.")

    def __call__(self, crop: NDArray[np.uint8]) -> tuple[int, NDArray[np.float32] | None]:
        """Locate the landmarks in a gray crop (size, size) uint8.

        The crop is shown to dlib with its gray repeated in three channels: on a single one its
        answer differs slightly in about 5 % of crops. Of several faces the last counts.

        Returns:
            The number of faces that dlib found, and the points (68, 2) float32 as x, y in crop
            pixels, or None where it found no face.
        """
        rgb = cv2.cvtColor(crop, cv2.COLOR_GRAY2RGB)
        faces = self._detector(rgb, self._upsample)
        if not faces:
            return 0, None
        shape = self._predictor(rgb, faces[-1])
        points = [(part.x, part.y) for part in shape.parts()]
        return len(faces), np.array(points, dtype=np.float32)


def import_dlib() -> ModuleType:
    """The module dlib.

    Raises:
        UserError: It is not installed.
    """
    try:
        import dlib
    except ImportError as problem:
        raise UserError(
            f"dlib cannot be imported ({problem}). Install the wheel, pip install dlib-bin, or let "
            "pip compile it: pip install dlib"
        ) from None
    return dlib  # type: ignore[no-any-return]


def model_file(named: Path | None) -> Path:
    """The shape predictor's file: the one named, or that of `face_recognition_models`.

    That package is found without being imported: its import needs `pkg_resources`, which current
    setuptools no longer has.

    Raises:
        UserError: There is no such file.
    """
    if named is not None:
        if not named.is_file():
            raise UserError(f"There is no landmark model {named} (setting landmarks.model).")
        return named
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise UserError(
            "The landmark model is missing. Install it, pip install face_recognition_models, or "
            "name a file with --set extract.landmarks.model=FILE"
        )
    file = Path(package.origin).parent / "models" / PREDICTOR_FILE
    if not file.is_file():
        raise UserError(f"face_recognition_models lacks {PREDICTOR_FILE}: install it again.")
    return file


@cache
def model_sha256(file: Path) -> str:
    """Hex SHA-256 of a model file; it enters the fingerprint of the rows."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
