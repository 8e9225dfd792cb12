"""Detect the face of an image with OpenCV's Haar cascades, and crop it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.faces import coarse_to_fine
from fer_ray.faces.regions import Region
from fer_ray.settings.extraction import Crop, Decode
from fer_ray.sources.decoding import decode_file
from fer_ray.vocabulary import Status

Gray = NDArray[np.uint8]
IntBox = tuple[int, int, int, int]

SEARCHES = {
    "exhaustive": coarse_to_fine.exhaustive,
    "coarse-to-fine": coarse_to_fine.coarse_to_fine,
}


@dataclass(frozen=True)
class FaceDetection:
    """The result of the cascades for one image.

    Attributes:
        status: ok, no_face or several_faces.
        cascade: The cascade that found the face, None unless ok.
        box_xywh: The face in image pixels, None unless ok.
        faces: Number of faces found by each cascade that ran, by name.
    """

    status: Status
    cascade: str | None
    box_xywh: IntBox | None
    faces: dict[str, int]


class FaceFinder:
    """Finds the one face of an image by the rule of the reference study.

    The first cascade that finds exactly one face decides. Later cascades do not run, because they
    cannot change the result.

    Examples:
        >>> finder = FaceFinder(Crop())
        >>> detection = finder(np.zeros((480, 640), np.uint8))
        >>> detection.status
        <Status.NO_FACE: 'no_face'>
    """

    def __init__(self, settings: Crop) -> None:
        self._settings = settings
        self._search = SEARCHES[settings.search]
        self._cascades = {name: load_cascade(name) for name in settings.cascades}

    def __call__(self, gray: Gray) -> FaceDetection:
        """Find one face in an image (height, width) uint8."""
        faces: dict[str, int] = {}
        for name, cascade in self._cascades.items():
            boxes = self._search(cascade, gray, self._settings)
            faces[name] = len(boxes)
            if len(boxes) == 1:
                return FaceDetection(Status.OK, name, boxes[0], faces)
        status = Status.SEVERAL_FACES if any(faces.values()) else Status.NO_FACE
        return FaceDetection(status, None, None, faces)

    def find_all(self, gray: Gray) -> tuple[str | None, list[IntBox], dict[str, int]]:
        """Find all faces, with the first cascade that finds any.

        Args:
            gray: (height, width) uint8.

        Returns:
            The name of that cascade, its boxes xywh with the largest first, and the number of faces
            found by each cascade that ran.
        """
        faces: dict[str, int] = {}
        for name, cascade in self._cascades.items():
            boxes = self._search(cascade, gray, self._settings)
            faces[name] = len(boxes)
            if boxes:
                return name, sorted(boxes, key=lambda box: (-box[2] * box[3], box)), faces
        return None, [], faces


def cascade_file(name: str) -> Path:
    """Path of OpenCV's frontal face cascade `name`, one of `vocabulary.CASCADES`.

    Raises:
        UserError: OpenCV is installed without cascades, as with its 5.x wheels.
    """
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    file = Path(folder) / f"haarcascade_frontalface_{name}.xml"
    if not hasattr(cv2, "CascadeClassifier") or not file.is_file():
        raise UserError(
            f"OpenCV {cv2.__version__} has no face cascades. Install a version that includes them: "
            'pip install "opencv-python-headless>=4.14,<5"'
        )
    return file


def load_cascade(name: str) -> cv2.CascadeClassifier:
    """Load OpenCV's frontal face cascade `name`, one of `vocabulary.CASCADES`."""
    return cv2.CascadeClassifier(str(cascade_file(name)))


def crop_face(
    gray: Gray, box_xywh: IntBox, size_px: int = 350, angle: float = 0, reduction: int = 1
) -> Gray:
    """Crop a square or box of an image and resize it bilinearly.

    Args:
        gray: The decoded image (height, width) uint8.
        box_xywh: In pixels of the full-size image.
        size_px: Side of the result.
        angle: Clockwise rotation of the box about its centre, in degrees.
        reduction: The factor by which `gray` is smaller than the full-size image.

    Returns:
        (size_px, size_px) uint8. Pixels outside of the image are replicated from its edge.
    """
    x, y, w, h = (int(value) for value in box_xywh)
    # Round up: a box may end at the edge of the full-size image, within the last reduced pixel.
    left, top, width, height = (
        x // reduction,
        y // reduction,
        -(-w // reduction),
        -(-h // reduction),
    )
    inside = (
        left >= 0 and top >= 0 and left + width <= gray.shape[1] and top + height <= gray.shape[0]
    )
    if angle or not inside:
        return crop_region((x, y, w, h), angle, reduction).cut(gray, size_px)
    pixels = cv2.resize(gray[top : top + height, left : left + width], (size_px, size_px))
    return np.asarray(pixels, dtype=np.uint8)


def crop_region(box_xywh: IntBox, angle: float, reduction: int = 1) -> Region:
    """The region of the decoded image that the crop of a rotated square shows."""
    x, y, w, h = box_xywh
    centre = np.array([x + w / 2, y + h / 2]) / reduction
    return Region(centre, max(w, h) / reduction, math.radians(angle))


def recrop(row: Mapping[str, Any], root: Path, decode: Decode, size_px: int) -> Gray:
    """Reproduce the crop of an extracted row from its image.

    Args:
        row: `path`, `sha256`, `crop_angle`, and `box_xywh` in pixels of the full-size image.
        root: Folder that `path` is relative to.
        decode: Settings of the extraction, which may have decoded at a reduced size.
        size_px: Side of the crop.

    Returns:
        (size_px, size_px) uint8, identical to the crop of the extraction.

    Raises:
        ValueError: The image cannot be decoded, or its content has changed.
    """
    decoded = decode_file(root / row["path"], decode)
    if decoded.gray is None or decoded.sha256 != row["sha256"]:
        raise ValueError(decoded.error or "its content has changed")
    return crop_face(decoded.gray, row["box_xywh"], size_px, row["crop_angle"], decoded.reduction)
