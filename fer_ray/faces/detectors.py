"""The face detectors, with one interface: an image in, its faces out."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_ray.faces.blazeface import BlazeFace
from fer_ray.faces.coarse_to_fine import smallest_face
from fer_ray.faces.crops import FaceFinder
from fer_ray.faces.detection import Detection, Face
from fer_ray.settings.extraction import WHOLE, Crop, Faces
from fer_ray.settings.face_models import BLAZEFACE

Gray = NDArray[np.uint8]


class CascadeDetector:
    """OpenCV's Haar cascades.

    One face: the first cascade that finds exactly one decides, as in the reference study. Largest
    or all faces: those of the first cascade that finds any.

    Args:
        settings: Parameters of the cascades.
        file: Not used.
    """

    def __init__(self, settings: Crop, file: Path | None = None) -> None:
        self._finder = FaceFinder(settings)

    def __call__(self, gray: Gray, faces: Faces) -> Detection:
        """Find faces in an image (height, width) uint8."""
        if faces != "one":
            cascade, boxes, counts = self._finder.find_all(gray)
            return Detection(tuple(Face(box, str(cascade)) for box in boxes), len(boxes), counts)
        result = self._finder(gray)
        found = () if result.box_xywh is None else (Face(result.box_xywh, str(result.cascade)),)
        return Detection(found, max(result.faces.values(), default=0), result.faces)


class BlazeFaceDetector:
    """BlazeFace, and the cascades for images in which it finds nothing.

    One or largest face: frames of increasing size are searched until one shows a face, so smaller
    faces in the background do not count. All faces: every size is searched.

    Args:
        settings: Size of the smallest face, and parameters of the cascades.
        file: The `face_landmarker.task` file.

    Raises:
        UserError: The file is missing or is not a face landmarker.
    """

    def __init__(self, settings: Crop, file: Path) -> None:
        self._settings = settings
        self._network = BlazeFace(file)
        self._cascades = CascadeDetector(settings.model_copy(update={"search": "coarse-to-fine"}))

    def __call__(self, gray: Gray, faces: Faces) -> Detection:
        """Find faces in an image (height, width) uint8."""
        smallest = smallest_face(gray, self._settings)
        found = self._network(gray, smallest, every_size=faces == "all")
        if not found:
            return self._cascades(gray, faces)
        boxes = [[float(value) for value in face.box_xywh] for face in found]
        return Detection(
            tuple(
                Face((x, y, w, h), BLAZEFACE, face.score, face.key_points)
                for face, (x, y, w, h) in zip(found, boxes, strict=True)
            ),
            len(found),
        )


class WholeImage:
    """No detection: each image is a cropped face."""

    def __call__(self, gray: Gray, faces: Faces) -> Detection:
        """Return the square around the image (height, width) uint8."""
        height, width = gray.shape
        side = max(height, width)
        box = ((width - side) / 2, (height - side) / 2, side, side)
        return Detection((Face(box, WHOLE),), 1)
