"""A quicker search for faces with the same cascades: roughly in a small copy, then exactly.

What an exhaustive search costs goes into its smallest windows: half of it into faces of less than a
twelfth of the frame. Large faces are therefore looked for first, in a copy of the image so small
that they just fill the cascade's window; only where nothing is found does a copy of twice the size
follow. What is found is looked at again in the image itself, with all else blacked out: OpenCV
passes over windows without contrast at once, and windows on the face lie on the very grid that an
exhaustive search has. So the boxes are its boxes, to the pixel, unless a face's own windows reach
further out.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.settings.extraction import Crop

Gray = NDArray[np.uint8]
Box = tuple[int, int, int, int]

LARGE_FACE_SHARE = 0.25  # of the shorter side: where the search begins
# A rough search may take larger steps and ask fewer neighbours: what it finds is looked at again.
ROUGH_SCALE_FACTOR = 1.3
ROUGH_NEIGHBORS = 2
OVERLAP = 1.3  # by which the sizes of one copy reach into those of the copy before it
# Windows that OpenCV merges into one face reach this far around its box, in shares of its side.
MARGIN = 0.5
SIZES = (0.6, 1.6)


def exhaustive(cascade: Any, gray: Gray, settings: Crop) -> list[Box]:
    """Boxes xywh of all faces that a cascade finds at any place and size, as the study asks it."""
    return _detect(cascade, gray, settings, (smallest_face(gray, settings), None))


def coarse_to_fine(cascade: Any, gray: Gray, settings: Crop) -> list[Box]:
    """Boxes xywh of the largest faces; smaller ones count only where there are no larger.

    Args:
        cascade: OpenCV cascade classifier.
        gray: (height, width) uint8.
        settings: The study's parameters of the search, and its smallest face.
    """
    for sizes in _octaves(gray, settings):
        rough = _find_roughly(cascade, gray, *sizes)
        exact = _look_again(cascade, gray, rough, settings) if rough else []
        if exact:
            return exact
    return []


def smallest_face(gray: Gray, settings: Crop) -> int:
    """Side of the smallest face that is looked for, in pixels."""
    return max(settings.min_size_px, int(settings.min_face_share * min(gray.shape)))


def _octaves(gray: Gray, settings: Crop) -> Iterator[tuple[float, float | None]]:
    """Smallest and largest face of each copy, in pixels of the image: large faces first."""
    least = float(smallest_face(gray, settings))
    low, high = max(least, LARGE_FACE_SHARE * min(gray.shape)), None
    while True:
        yield low, high
        if low <= least:
            return
        low, high = max(least, low / 2), low * OVERLAP


def _find_roughly(cascade: Any, gray: Gray, low: float, high: float | None) -> list[Box]:
    """Candidates between two sizes, in a copy where the smallest fills the cascade's window."""
    scale = min(1.0, cascade.getOriginalWindowSize()[0] / low)
    size = [max(1, round(side * scale)) for side in reversed(gray.shape)]
    small = gray if scale == 1 else cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    rough = Crop(scale_factor=ROUGH_SCALE_FACTOR, min_neighbors=ROUGH_NEIGHBORS)
    boxes = _detect(cascade, small, rough, (int(low * scale), int(high * scale) if high else None))
    return [tuple(round(value / scale) for value in box) for box in boxes]


def _look_again(cascade: Any, gray: Gray, rough: list[Box], settings: Crop) -> list[Box]:
    """The faces that the study's parameters find at the candidates' places and sizes."""
    masked = np.zeros_like(gray)
    for x, y, w, h in rough:
        margin = round(MARGIN * w)
        place = np.s_[max(0, y - margin) : y + h + margin, max(0, x - margin) : x + w + margin]
        masked[place] = gray[place]
    widths = [box[2] for box in rough]
    least = max(smallest_face(gray, settings), int(SIZES[0] * min(widths)))
    return _detect(cascade, masked, settings, (least, int(SIZES[1] * max(widths))))


def _detect(cascade: Any, gray: Gray, settings: Crop, sizes: tuple[int, int | None]) -> list[Box]:
    low, high = sizes
    boxes = cascade.detectMultiScale(
        gray,
        scaleFactor=settings.scale_factor,
        minNeighbors=settings.min_neighbors,
        minSize=(low, low),
        maxSize=(high, high) if high else (0, 0),  # OpenCV takes 0 for no bound
        flags=cv2.CASCADE_SCALE_IMAGE,
    )
    return [tuple(int(value) for value in box) for box in boxes]  # type: ignore[misc]
