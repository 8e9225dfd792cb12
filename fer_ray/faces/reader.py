"""From an image to the faces to process: detection, selection of faces, and their crops."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.faces.crops import IntBox, crop_face, crop_region
from fer_ray.faces.detection import Detection, Face
from fer_ray.faces.face_mesh import Mesh
from fer_ray.faces.mesh_locator import MeshLocator, suggested_region
from fer_ray.settings.extraction import Faces
from fer_ray.vocabulary import Status

Gray = NDArray[np.uint8]
Floats = NDArray[np.float64]

MESH_MARGIN = 1.1  # side of the crop, relative to the mesh
KEY_POINT_MARGIN = 0.9  # relative to the region of the mesh, for other landmark models


@dataclass(frozen=True)
class FramedFace:
    """A face and the square that its crop shows.

    Attributes:
        face: The face as detected, in pixels of the decoded image.
        box_xywh: The crop's square before it is rotated, in pixels of the full-size image; it may
            extend beyond the image.
        angle: Clockwise rotation of the square about its centre, in degrees.
        crop: (size, size) uint8.
        mesh: (478, 3) in crop pixels; None without a face mesh.
    """

    face: Face
    box_xywh: IntBox
    angle: float
    crop: Gray
    mesh: Floats | None = None


@dataclass(frozen=True)
class Reading:
    """The faces of one image.

    Attributes:
        status: ok, no_face or several_faces.
        error: Why no face is processed; None if one is.
        faces: The faces to process, the largest first; empty unless ok.
        seen: Number of faces seen in the image.
        cascade_faces: Number of faces found by each cascade that ran, by name.
    """

    status: Status
    error: str | None
    faces: tuple[FramedFace, ...]
    seen: int
    cascade_faces: dict[str, int] | None


class FaceReader:
    """Finds the faces of an image and crops them.

    Args:
        detector: One of `DETECTORS`, loaded.
        locator: The landmark model, loaded; a `MeshLocator` frames faces by their mesh.
        size_px: Side of the crops.
    """

    def __init__(self, detector: Any, locator: Any, size_px: int) -> None:
        self._detector = detector
        self._mesh = locator if isinstance(locator, MeshLocator) else None
        self._size = size_px

    def __call__(
        self, gray: Gray, faces: Faces, reduction: int, full_size: tuple[int, int]
    ) -> Reading:
        """Find and crop the faces of one image.

        Args:
            gray: The decoded image (height, width) uint8.
            faces: Which faces to process.
            reduction: The factor by which it is smaller than the full-size image.
            full_size: Width and height of the full-size image.
        """
        detection: Detection = self._detector(gray, faces)
        located = [(face, self._locate(gray, face)) for face in detection.faces]
        seen = detection.seen
        if self._mesh is not None and len(located) > 1:  # the mesh network rejects false faces
            confirmed = [pair for pair in located if pair[1] is not None]
            located = confirmed or located[:1]
            seen = len(located)
        counts = detection.cascade_faces
        if not located or (faces == "one" and len(located) > 1):
            status = Status.SEVERAL_FACES if seen else Status.NO_FACE
            return Reading(status, _reason(detection, seen), (), seen, counts)
        chosen = located if faces == "all" else located[:1]
        framed = tuple(self._frame(gray, face, mesh, reduction, full_size) for face, mesh in chosen)
        return Reading(Status.OK, None, framed, seen, counts)

    def _locate(self, gray: Gray, face: Face) -> Mesh | None:
        return None if self._mesh is None else self._mesh.locate(gray, face)

    def _frame(
        self, gray: Gray, face: Face, mesh: Mesh | None, by: int, full_size: tuple[int, int]
    ) -> FramedFace:
        if mesh is None and face.key_points is None:
            box, angle = _to_full_size(face.box_xywh, by, full_size), 0.0
        else:
            region = mesh.region(MESH_MARGIN) if mesh else suggested_region(face)
            side = region.side * (1 if mesh else KEY_POINT_MARGIN) * by
            x, y = region.centre * by - side / 2
            box = (round(x), round(y), math.ceil(side), math.ceil(side))
            angle = round(math.degrees(region.angle), 2)
        crop = crop_face(gray, box, self._size, angle, by)
        points = None
        if mesh is not None:
            points = crop_region(box, angle, by).to_square(mesh.points, self._size)
        return FramedFace(face, box, angle, crop, points)


def _to_full_size(
    box_xywh: tuple[float, float, float, float], by: int, full_size: tuple[int, int]
) -> IntBox:
    """A box in full-size pixels; a reduced image may be up to a pixel larger."""
    x, y, w, h = (round(by * side) for side in box_xywh)
    if by == 1:
        return x, y, w, h
    return x, y, min(w, full_size[0] - x), min(h, full_size[1] - y)


def _reason(detection: Detection, seen: int) -> str:
    if detection.cascade_faces is None:
        return f"{detection.faces[0].found_by} found {seen} faces" if seen else "no face was found"
    counts = ", ".join(f"{name} {count}" for name, count in detection.cascade_faces.items())
    return f"no cascade found exactly one face (faces found: {counts})"
