"""The face mesh of a detected face."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_ray.faces.blazeface import LEFT_EYE, RIGHT_EYE
from fer_ray.faces.detection import Face
from fer_ray.faces.face_mesh import REGION_SCALE, FaceMesh, Mesh
from fer_ray.faces.regions import Region
from fer_ray.settings.extraction import Landmarks

Gray = NDArray[np.uint8]
Floats = NDArray[np.float64]

MIN_PRESENCE = 0.5
# The cascades' boxes are larger than those of BlazeFace and reach less far down.
CASCADE_SCALE, CASCADE_SHIFT = 1.25, 0.05


class MeshLocator:
    """MediaPipe's face mesh.

    Args:
        settings: Not used.
        file: The `face_landmarker.task` file.

    Raises:
        UserError: The file is missing or is not a face landmarker.
    """

    def __init__(self, settings: Landmarks, file: Path) -> None:
        self._network = FaceMesh(file)

    def locate(self, gray: Gray, face: Face) -> Mesh | None:
        """Locate the mesh of a face in an image.

        Without key points, the region that the detector suggests is coarse, so that the mesh is
        located twice: the second time in the region of the first mesh.

        Args:
            gray: (height, width) uint8.
            face: The detected face.

        Returns:
            The mesh in pixels of the image; None if the network sees no face in the region.
        """
        mesh = self._network(gray, suggested_region(face))
        if face.key_points is None and mesh.presence >= MIN_PRESENCE:
            mesh = self._network(gray, mesh.region(REGION_SCALE))
        return mesh if mesh.presence >= MIN_PRESENCE else None

    def blendshapes(self, points: Floats) -> NDArray[np.float32]:
        """Estimate the 52 blendshapes of a mesh (478, 3), in pixels of any image."""
        return self._network.blendshapes(points)


def suggested_region(face: Face) -> Region:
    """The region in which the mesh of a detected face is located."""
    x, y, w, h = face.box_xywh
    centre = np.array([x + w / 2, y + h / 2])
    if face.key_points is None:
        shifted = centre + np.array([0, CASCADE_SHIFT * h])
        return Region(shifted, CASCADE_SCALE * max(w, h), 0.0)
    across = face.key_points[LEFT_EYE] - face.key_points[RIGHT_EYE]
    return Region(centre, REGION_SCALE * max(w, h), float(np.arctan2(across[1], across[0])))
