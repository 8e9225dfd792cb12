"""Finding the one face of an image with OpenCV's Haar cascades, and cutting it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.faces import coarse_to_fine
from fer_ray.settings.extraction import Crop, Decode
from fer_ray.sources.decoding import decode_file
from fer_ray.vocabulary import Status

Gray = NDArray[np.uint8]
Box = tuple[int, int, int, int]

SEARCHES = {
    "exhaustive": coarse_to_fine.exhaustive,
    "coarse-to-fine": coarse_to_fine.coarse_to_fine,
}


@dataclass(frozen=True)
class FaceFound:
    """What the cascades said of one image.

    Attributes:
        status: ok, no_face or several_faces.
        cascade: The cascade that decided, None unless ok.
        box_xywh: Its face in image pixels, None unless ok.
        faces: Faces found by each cascade that ran, by its name.
    """

    status: Status
    cascade: str | None
    box_xywh: Box | None
    faces: dict[str, int]


class FaceFinder:
    """The study's rule: the first cascade that finds exactly one face decides.

    Cascades after the deciding one do not run: the answer is the same.
    """

    def __init__(self, settings: Crop) -> None:
        self._settings = settings
        self._search = SEARCHES[settings.search]
        self._cascades = {name: load_cascade(name) for name in settings.cascades}

    def __call__(self, gray: Gray) -> FaceFound:
        """Look for one face in (height, width) uint8."""
        faces: dict[str, int] = {}
        for name, cascade in self._cascades.items():
            boxes = self._search(cascade, gray, self._settings)
            faces[name] = len(boxes)
            if len(boxes) == 1:
                return FaceFound(Status.OK, name, boxes[0], faces)
        status = Status.SEVERAL_FACES if any(faces.values()) else Status.NO_FACE
        return FaceFound(status, None, None, faces)

    def every(self, gray: Gray) -> tuple[str | None, list[Box], dict[str, int]]:
        """The faces xywh of the first cascade that finds any, the largest first.

        Args:
            gray: (height, width) uint8.

        Returns:
            That cascade's name, its boxes, and the number of faces found by each that ran.
        """
        faces: dict[str, int] = {}
        for name, cascade in self._cascades.items():
            boxes = self._search(cascade, gray, self._settings)
            faces[name] = len(boxes)
            if boxes:
                return name, sorted(boxes, key=lambda box: (-box[2] * box[3], box)), faces
        return None, [], faces


def cascade_file(name: str) -> Path:
    """Where OpenCV keeps the frontal face cascade `name` (see `contracts.CASCADES`).

    Raises:
        UserError: This OpenCV comes without cascades, as the 5.x wheels do.
    """
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    file = Path(folder) / f"haarcascade_frontalface_{name}.xml"
    if not hasattr(cv2, "CascadeClassifier") or not file.is_file():
        raise UserError(
            f"OpenCV {cv2.__version__} has no face cascades. Install one that has: "
            'pip install "opencv-python-headless>=4.14,<5"'
        )
    return file


def load_cascade(name: str) -> cv2.CascadeClassifier:
    """The frontal face cascade `name`."""
    return cv2.CascadeClassifier(str(cascade_file(name)))


def cut(gray: Gray, box_xywh: Box, size_px: int = 350) -> Gray:
    """The box cut out of (height, width) uint8 and resized, bilinear, to (size_px, size_px)."""
    x, y, w, h = (int(value) for value in box_xywh)
    return np.asarray(cv2.resize(gray[y : y + h, x : x + w], (size_px, size_px)), dtype=np.uint8)


def cut_again(row: Mapping[str, Any], root: Path, decode: Decode, size_px: int) -> Gray:
    """The very crop that extraction made, from its row and its image.

    Args:
        row: `path`, `sha256`, and `box_xywh` in pixels of the whole image.
        root: Folder that `path` is relative to.
        decode: Of the extraction: it may have decoded a part of the size.
        size_px: Side of a crop.

    Raises:
        ValueError: The image cannot be decoded, or its content is another now.
    """
    decoded = decode_file(root / row["path"], decode)
    if decoded.gray is None or decoded.sha256 != row["sha256"]:
        raise ValueError(decoded.error or "its content has changed")
    by = decoded.reduction
    x, y, w, h = (int(value) for value in row["box_xywh"])
    # Rounded up, since a box may end where the whole image does, within the last reduced pixel.
    return cut(decoded.gray, (x // by, y // by, -(-w // by), -(-h // by)), size_px)
