"""Face detection with BlazeFace on OpenCV's dnn module.

BlazeFace (Bazarevsky et al., CVPR workshop on computer vision for AR/VR, 2019) is a convolutional
network for frames of 128 × 128 px. It finds faces whose box is at least about a fifth of the frame.
Since it has no dense layer, it also accepts larger frames, in which smaller faces fill the same
number of pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.faces.landmarker_file import read_network, to_blob, to_confidence

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

NETWORK = "face_detector"
FRAME_PX = 128  # longer side of the smallest frame
STRIDES = ((8, 2), (16, 6))  # pixels between the anchors of each output, and anchors per position
MIN_SCORE = 0.5
# A face that fills the image has a low score, or none: BlazeFace needs some margin around it.
SURE_SCORE = 0.75
MARGIN_SHARE = 0.625  # longer side of the image, relative to a frame with margin
MAX_OVERLAP = 0.3  # intersection over union, above which two boxes show the same face
MAX_NESTED = 0.7  # share of a box in a larger one, above which it is a part of that face
SMALLEST_FACE_PX = 32.0  # in the frame
RIGHT_EYE, LEFT_EYE, NOSE, MOUTH = range(4)  # the first key points; the last two are the ears


@dataclass(frozen=True)
class BlazeDetection:
    """A detected face.

    Attributes:
        box_xywh: (4,) position and size of the box, in image pixels.
        key_points: (6, 2) eyes, nose, mouth and ears, in image pixels.
        score: Confidence between 0 and 1.
    """

    box_xywh: Floats
    key_points: Floats
    score: float


class BlazeFace:
    """Finds the faces of an image.

    Args:
        file: The `face_landmarker.task` file.

    Raises:
        UserError: The file is missing or is not a face landmarker.
    """

    def __init__(self, file: Path) -> None:
        self._network = read_network(file, NETWORK)
        self._outputs = ("regressors", "classificators")

    def __call__(self, image: Image, min_px: float, every_size: bool) -> list[BlazeDetection]:
        """Find faces, large ones first.

        Frames of increasing size are searched until one shows a face. If the smallest frame shows
        none, or an uncertain one, the image is also searched with a margin around it: a face that
        fills the image is found only in this way.

        Args:
            image: Gray (height, width) or RGB (height, width, 3) uint8.
            min_px: Side of the smallest face, in image pixels.
            every_size: Search for faces of every size, even if there are larger ones.

        Returns:
            The faces, the largest first.
        """
        found: list[BlazeDetection] = []
        for side in frame_sides(max(image.shape[:2]), min_px):
            faces = merge(self._find(image, side))
            if side == FRAME_PX and len(faces) <= 1 and _best_score(faces) < SURE_SCORE:
                with_margin = merge(self._find(image, side, MARGIN_SHARE))
                faces = max(faces, with_margin, key=_best_score)
            found = merge(found + faces)
            if found and not every_size:
                break
        found = [face for face in found if max(face.box_xywh[2:]) >= min_px]
        return drop_nested(sorted(found, key=lambda face: -float(np.prod(face.box_xywh[2:]))))

    def _find(self, image: Image, side: int, share: float = 1) -> list[BlazeDetection]:
        """Faces in a frame of `side` pixels, of which the image takes a share."""
        frame, scale, offset = _fit(image, side, share)
        self._network.setInput(frame)
        values, logits = self._network.forward(self._outputs)
        scores = to_confidence(logits.ravel())
        chosen = scores >= MIN_SCORE
        values = values.reshape(-1, 16)[chosen].astype(np.float64)
        centres = anchors(frame.shape[2:])[chosen]
        points = (values[:, 4:].reshape(-1, 6, 2) + centres[:, None] - offset) / scale
        sizes = values[:, 2:4]
        corners = values[:, :2] + centres - sizes / 2
        boxes = np.hstack([(corners - offset) / scale, sizes / scale])
        found = zip(boxes, points, scores[chosen].tolist(), strict=True)
        return [BlazeDetection(*values) for values in found]


def frame_sides(longer_px: int, min_px: float) -> Iterator[int]:
    """Longer sides of the frames in which faces down to `min_px` are at least just large enough."""
    needed = longer_px * SMALLEST_FACE_PX / min_px
    side = FRAME_PX
    yield side
    while side < needed:
        side *= 2
        yield side


@cache
def anchors(shape: tuple[int, int]) -> Floats:
    """Centres (n, 2) of the anchors of a frame of this height and width, in pixels."""
    centres = []
    for stride, count in STRIDES:
        y, x = np.mgrid[: -(-shape[0] // stride), : -(-shape[1] // stride)]
        grid = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        centres.append(np.repeat(grid, count, axis=0))
    return np.concatenate(centres)


def merge(faces: list[BlazeDetection]) -> list[BlazeDetection]:
    """Merge detections of the same face: their mean, weighted by score."""
    merged = []
    remaining = sorted(faces, key=lambda face: -face.score)
    while remaining:
        best = remaining[0]
        overlaps = _overlaps(best, remaining)
        same = [face for face, shared in zip(remaining, overlaps, strict=True)
                if face is best or shared > MAX_OVERLAP]  # fmt: skip
        merged.append(_mean(same, best.score) if len(same) > 1 else best)
        chosen = {id(face) for face in same}
        remaining = [face for face in remaining if id(face) not in chosen]
    return merged


def _mean(faces: list[BlazeDetection], score: float) -> BlazeDetection:
    weights = np.array([face.score for face in faces])
    weights /= weights.sum()
    return BlazeDetection(
        np.tensordot(weights, [face.box_xywh for face in faces], axes=1),
        np.tensordot(weights, [face.key_points for face in faces], axes=1),
        score,
    )


def drop_nested(faces: list[BlazeDetection]) -> list[BlazeDetection]:
    """Drop faces within a larger one that is more certain: parts of a face can look like one.

    Args:
        faces: The largest first.
    """
    chosen: list[BlazeDetection] = []
    for face in faces:
        area = float(np.prod(face.box_xywh[2:]))
        if not any(
            larger.score >= face.score and _shared_area(larger, face) > MAX_NESTED * area
            for larger in chosen
        ):
            chosen.append(face)
    return chosen


def _overlaps(one: BlazeDetection, others: list[BlazeDetection]) -> Floats:
    """Intersection over union (n,) of a box with each of the others."""
    box, boxes = one.box_xywh, np.array([other.box_xywh for other in others])
    sides = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    sides -= np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(box[2:]) + np.prod(boxes[:, 2:], axis=1)
    return np.asarray(shared / (areas - shared + 1e-9))


def _shared_area(one: BlazeDetection, other: BlazeDetection) -> float:
    a, b = one.box_xywh, other.box_xywh
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(np.maximum(sides, 0)))


def _best_score(faces: list[BlazeDetection]) -> float:
    return max((face.score for face in faces), default=0.0)


def _fit(image: Image, side: int, share: float = 1) -> tuple[NDArray[np.float32], float, Floats]:
    """A frame with the image in its middle, the scale of the copy, and its corner in the frame."""
    height, width = image.shape[:2]
    scale = side * share / max(height, width)
    size = np.array([max(1, round(width * scale)), max(1, round(height * scale))])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, size.tolist(), interpolation=interpolation)
    shape = np.maximum(FRAME_PX, -(-size // FRAME_PX) * FRAME_PX) if side > FRAME_PX else [side] * 2
    frame = np.full((shape[1], shape[0], *image.shape[2:]), -1, np.float32)
    offset = (np.array(shape) - size) // 2
    x, y = offset
    frame[y : y + size[1], x : x + size[0]] = small / np.float32(127.5) - 1
    return to_blob(frame), scale, offset.astype(np.float64)
