"""A faster face search with the same cascades: coarse in a small copy, then exact.

An exhaustive search spends most of its time on the smallest windows: half of it on faces smaller
than a twelfth of the frame. This search therefore starts with large faces, in a copy of the image
so small that they just fill the cascade's window. While it finds nothing, it continues with a copy
of twice the size. It then searches the original image around the candidates, with everything else
set to black: OpenCV rejects windows without contrast immediately, and windows on a face lie on the
same grid as in an exhaustive search. The boxes are therefore identical to those of the exhaustive
search to the pixel, unless windows of a face extend beyond the margin.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.settings.extraction import Crop

Gray = NDArray[np.uint8]
Box = tuple[int, int, int, int]

LARGE_FACE_SHARE = 0.25  # of the shorter side: the smallest face of the first copy
# The coarse search may take larger steps and require fewer neighbours: its candidates are checked.
COARSE_SCALE_FACTOR = 1.3
COARSE_NEIGHBORS = 2
OVERLAP = 1.3  # factor by which the face sizes of one copy overlap with those of the copy before
# Windows that OpenCV merges into one face extend this far around its box, as a share of its side.
MARGIN = 0.5
SIZE_RANGE = (0.6, 1.6)  # of the exact search, relative to the candidates


def exhaustive(cascade: Any, gray: Gray, settings: Crop) -> list[Box]:
    """Find all faces at any position and size, as in the reference study.

    Args:
        cascade: OpenCV cascade classifier.
        gray: (height, width) uint8.
        settings: Parameters of the search.

    Returns:
        Boxes xywh in pixels.
    """
    return _detect(cascade, gray, settings, (smallest_face(gray, settings), None))


def coarse_to_fine(cascade: Any, gray: Gray, settings: Crop) -> list[Box]:
    """Find the largest faces; smaller ones only if there are no larger ones.

    Args:
        cascade: OpenCV cascade classifier.
        gray: (height, width) uint8.
        settings: Parameters of the exact search, and the size of the smallest face.

    Returns:
        Boxes xywh in pixels.
    """
    for sizes in _size_ranges(gray, settings):
        candidates = _find_candidates(cascade, gray, *sizes)
        faces = _refine(cascade, gray, candidates, settings) if candidates else []
        if faces:
            return faces
    return []


def smallest_face(gray: Gray, settings: Crop) -> int:
    """Side in pixels of the smallest face that the search covers."""
    return max(settings.min_size_px, int(settings.min_face_share * min(gray.shape)))


def _size_ranges(gray: Gray, settings: Crop) -> Iterator[tuple[float, float | None]]:
    """Smallest and largest face of each copy, in pixels of the image, large faces first."""
    smallest = float(smallest_face(gray, settings))
    low, high = max(smallest, LARGE_FACE_SHARE * min(gray.shape)), None
    while True:
        yield low, high
        if low <= smallest:
            return
        low, high = max(smallest, low / 2), low * OVERLAP


def _find_candidates(cascade: Any, gray: Gray, low: float, high: float | None) -> list[Box]:
    """Search a copy in which the smallest face fills the cascade's window."""
    scale = min(1.0, cascade.getOriginalWindowSize()[0] / low)
    size = [max(1, round(side * scale)) for side in reversed(gray.shape)]
    small = gray if scale == 1 else cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    coarse = Crop(scale_factor=COARSE_SCALE_FACTOR, min_neighbors=COARSE_NEIGHBORS)
    boxes = _detect(cascade, small, coarse, (int(low * scale), int(high * scale) if high else None))
    return [tuple(round(value / scale) for value in box) for box in boxes]


def _refine(cascade: Any, gray: Gray, candidates: list[Box], settings: Crop) -> list[Box]:
    """Search the image around the candidates with the exact parameters."""
    masked = np.zeros_like(gray)
    for x, y, w, h in candidates:
        margin = round(MARGIN * w)
        area = np.s_[max(0, y - margin) : y + h + margin, max(0, x - margin) : x + w + margin]
        masked[area] = gray[area]
    widths = [box[2] for box in candidates]
    low = max(smallest_face(gray, settings), int(SIZE_RANGE[0] * min(widths)))
    return _detect(cascade, masked, settings, (low, int(SIZE_RANGE[1] * max(widths))))


def _detect(cascade: Any, gray: Gray, settings: Crop, sizes: tuple[int, int | None]) -> list[Box]:
    low, high = sizes
    boxes = cascade.detectMultiScale(
        gray,
        scaleFactor=settings.scale_factor,
        minNeighbors=settings.min_neighbors,
        minSize=(low, low),
        maxSize=(high, high) if high else (0, 0),  # OpenCV: 0 means no upper limit
        flags=cv2.CASCADE_SCALE_IMAGE,
    )
    return [tuple(int(value) for value in box) for box in boxes]  # type: ignore[misc]
