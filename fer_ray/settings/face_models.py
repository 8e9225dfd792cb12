"""The tables of face detectors and landmark models. To add one, write a class and add a line here.

Any detector can be combined with any landmark model.
"""

import pkgutil
from dataclasses import dataclass
from typing import Any

CASCADES_DETECTOR, BLAZEFACE = "cascades", "blazeface"
DLIB, FACE_MESH = "dlib", "face-mesh"
FACE_LANDMARKER, DLIB_LANDMARKS = "face_landmarker", "dlib_landmarks"  # of `MODEL_FILES`


@dataclass(frozen=True)
class FaceModelSpec:
    """A face detector or a landmark model.

    Attributes:
        loader: The function that creates it, as `module:name` in `fer_ray.faces`. It is imported on
            first use, so that reading settings imports neither NumPy nor OpenCV.
        file: The model file that it needs, by its name in `MODEL_FILES`; None: no file.
        meaning: A short description.
    """

    loader: str
    file: str | None
    meaning: str

    def load(self, settings: Any, file: Any) -> Any:
        """Create the detector or landmark model.

        Args:
            settings: `Crop` for a detector, `Landmarks` for a landmark model.
            file: Path of its model file on this machine, or None.
        """
        return pkgutil.resolve_name(f"fer_ray.faces.{self.loader}")(settings, file)


DETECTORS = {
    CASCADES_DETECTOR: FaceModelSpec(
        "detectors:CascadeDetector", None, "OpenCV's Haar cascades, as in the reference study"
    ),
    BLAZEFACE: FaceModelSpec(
        "detectors:BlazeFaceDetector",
        FACE_LANDMARKER,
        "BlazeFace on frames of increasing size; the cascades where it finds nothing",
    ),
}

LANDMARK_MODELS = {
    DLIB: FaceModelSpec(
        "landmarks:LandmarkLocator", DLIB_LANDMARKS, "dlib's detector and 68-point shape predictor"
    ),
    FACE_MESH: FaceModelSpec(
        "mesh_locator:MeshLocator",
        FACE_LANDMARKER,
        "MediaPipe's mesh of 478 points and 52 blendshapes",
    ),
}
