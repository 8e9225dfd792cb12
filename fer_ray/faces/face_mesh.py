"""The 478 points and 52 blendshapes of a face, with MediaPipe's networks on OpenCV's dnn module."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_ray.faces.landmarker_file import read_network, to_blob, to_confidence
from fer_ray.faces.mesh_topology import (
    BLENDSHAPE_POINTS,
    LEFT_EYE_CORNERS,
    RIGHT_EYE_CORNERS,
)
from fer_ray.faces.regions import Region
from fer_ray.vocabulary import N_MESH_POINTS

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

INPUT_PX = 256
REGION_SCALE = 1.5  # side of the network's region, relative to the longer side of the face's box


@dataclass(frozen=True)
class Mesh:
    """The mesh of a face.

    Attributes:
        points: (478, 3) x, y and depth in image pixels; depth grows away from the camera.
        presence: Confidence between 0 and 1 that the region shows a face.
    """

    points: Floats
    presence: float

    def region(self, scale: float) -> Region:
        """The upright square around the mesh, `scale` times as large as the mesh."""
        angle = eye_angle(self.points)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, sin], [-sin, cos]])
        level = self.points[:, :2] @ turn.T
        low, high = level.min(axis=0), level.max(axis=0)
        return Region(turn.T @ ((low + high) / 2), float((high - low).max()) * scale, angle)


class FaceMesh:
    """Locates the face mesh and estimates blendshapes.

    Args:
        file: The `face_landmarker.task` file.

    Raises:
        UserError: The file is missing or is not a face landmarker.
    """

    def __init__(self, file: Path) -> None:
        self._mesh = read_network(file, "face_landmarks_detector")
        self._mesh.enableFusion(False)  # 7% faster here, with the same values to the last bit
        self._blendshapes = read_network(file, "face_blendshapes")

    def __call__(self, image: Image, region: Region) -> Mesh:
        """Locate the mesh of the face in a region.

        Args:
            image: Gray (height, width) or RGB (height, width, 3) uint8.
            region: The face with a margin; see `REGION_SCALE`.
        """
        pixels = region.cut(image, INPUT_PX)
        self._mesh.setInput(to_blob(pixels / np.float32(255)))
        values, presence = self._mesh.forward(("Identity", "Identity_1"))
        points = values.astype(np.float64).reshape(N_MESH_POINTS, 3)
        to_image = region.to_image(INPUT_PX)
        located = points[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        depth = points[:, 2:] * (region.side / INPUT_PX)
        return Mesh(np.column_stack([located, depth]), to_confidence(presence).item())

    def blendshapes(self, points: Floats) -> NDArray[np.float32]:
        """Estimate the 52 blendshapes, between 0 and 1, from a mesh (478, 3) in pixels."""
        self._blendshapes.setInput(points[None, BLENDSHAPE_POINTS, :2].astype(np.float32))
        return np.asarray(self._blendshapes.forward(), dtype=np.float32).ravel()


def eye_angle(points: Floats) -> float:
    """Clockwise angle in radians from the right to the left eye of a mesh (478, 3)."""
    right, left = (
        points[list(eye), :2].mean(axis=0) for eye in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)
    )
    across = left - right
    return float(np.arctan2(across[1], across[0]))
