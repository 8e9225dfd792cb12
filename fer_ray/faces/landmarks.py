"""The 68 facial landmarks of a face crop, with dlib."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Landmarks
from fer_ray.vocabulary import N_LANDMARKS

DETECTOR_PX = 80  # side of the smallest face that dlib's detector finds
MIN_WINDOW_PX = 70  # between the edges of dlib's window; its largest window is less than 6/5 of it


class LandmarkLocator:
    """dlib's frontal face detector and 68-point shape predictor (Kazemi and Sullivan, CVPR 2014).

    Args:
        settings: Parameters of dlib's detector.
        file: The shape predictor.

    Raises:
        UserError: dlib or the model is missing, or the file is not a 68-point model.
    """

    def __init__(self, settings: Landmarks, file: Path) -> None:
        dlib = self._dlib = import_dlib()
        self._settings = settings
        self._detector = dlib.get_frontal_face_detector()
        self._pyramid, self._doubling = dlib.pyramid_down(6), dlib.pyramid_down(2)
        try:
            self._predictor = dlib.shape_predictor(str(file))
        except RuntimeError as problem:
            raise UserError(
                f"{file} is not a dlib shape predictor: {problem}. Pass a 68-point model."
            ) from None
        parts = self._predictor(np.zeros((8, 8), np.uint8), dlib.rectangle(0, 0, 7, 7)).num_parts
        if parts != N_LANDMARKS:
            raise UserError(
                f"{file} predicts {parts} points. Pass a model that predicts {N_LANDMARKS}."
            )

    def __call__(self, crop: NDArray[np.uint8]) -> tuple[int, NDArray[np.float32] | None]:
        """Locate the landmarks of the face in a crop.

        If dlib finds several faces, the last one is used. If it finds none, the settings decide
        whether the predictor starts from the edges of the crop, which are the cascade's box.

        Args:
            crop: Gray, (size, size) uint8.

        Returns:
            The number of faces that dlib found, and the points (68, 2) float32 as x, y in crop
            pixels, or None without a face to start from.
        """
        boxes = self._detect(crop)
        if boxes:
            box = boxes[-1]
        elif self._settings.fallback == "box":
            box = self._dlib.rectangle(0, 0, crop.shape[1] - 1, crop.shape[0] - 1)
        else:
            return 0, None
        points = [(part.x, part.y) for part in self._predictor(crop, box).parts()]
        return len(boxes), np.array(points, dtype=np.float32)

    def _detect(self, crop: NDArray[np.uint8]) -> list[Any]:
        """Boxes of dlib's detector, in crop pixels.

        dlib searches for faces of 80 px in a pyramid in which each image has 5/6 of the size of the
        one before. The first levels, which contain the smallest faces, are the most expensive, so
        this starts at the level at which the smallest face of the settings fills the window.
        """
        levels = self._skipped_levels(len(crop))
        if levels == 0:
            return list(self._detector(self._with_channels(crop), self._settings.upsample))
        sides = [len(crop) << self._settings.upsample]
        for _ in range(levels):
            sides.append(sides[-1] * 5 // 6)
        level, enlarged = crop, sum(side >= len(crop) for side in sides)
        for side in sides[enlarged - 1 :]:  # larger levels add no information
            level = cv2.resize(level, (side, side))
        boxes = self._detector(self._with_channels(level), 0)
        return [self._to_crop_pixels(box, levels) for box in boxes]

    def _skipped_levels(self, size: int) -> int:
        smallest = self._settings.min_face_share * size * 2**self._settings.upsample
        return max(0, math.floor(math.log(smallest / DETECTOR_PX, 1.2))) if smallest else 0

    def _to_crop_pixels(self, box: Any, levels: int) -> Any:
        """Convert a box of the first level to crop pixels, with dlib's rounding.

        dlib rounds boxes at the level of their window and at each conversion, so the box is first
        converted to that level. Without this, points differ by a pixel or two.
        """
        more = max(0, math.floor(math.log((box.right() - box.left()) / MIN_WINDOW_PX, 1.2)))
        window = self._rounded(self._pyramid.rect_down(self._dlib.drectangle(box), more))
        largest = self._rounded(self._pyramid.rect_up(self._dlib.drectangle(window), levels + more))
        crop_box = self._doubling.rect_down(self._dlib.drectangle(largest), self._settings.upsample)
        return self._rounded(crop_box)

    def _with_channels(self, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The crop with one or three channels; dlib's boxes differ slightly between them."""
        if self._settings.channels == 1:
            return gray
        return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), dtype=np.uint8)

    def _rounded(self, box: Any) -> Any:
        corners = (box.left(), box.top(), box.right(), box.bottom())
        return self._dlib.rectangle(*(round(corner) for corner in corners))


def import_dlib() -> ModuleType:
    """Import dlib.

    Raises:
        UserError: dlib is not installed.
    """
    try:
        import dlib
    except ImportError as problem:
        raise UserError(
            f"dlib cannot be imported ({problem}). Run pip install --force-reinstall dlib-bin."
        ) from None
    return dlib  # type: ignore[no-any-return]


def packaged_model_file(name: str) -> Path:
    """Path of a model file in the package `face_recognition_models`.

    The package is located without being imported: it imports `pkg_resources`, which current
    versions of setuptools no longer include.

    Raises:
        UserError: The package is not installed, or the file is missing.
    """
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise UserError(
            f"{name} is missing. Install it with pip install face_recognition_models, or pass a "
            "file (--landmark-file FILE, --weights FILE)."
        )
    file = Path(package.origin).parent / "models" / name
    if not file.is_file():
        raise UserError(f"face_recognition_models has no file {name}. Reinstall the package.")
    return file
