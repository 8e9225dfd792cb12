"""The table of model files for faces: where they come from, and under which licence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelFile:
    """A published model file.

    Attributes:
        name: Its name in commands and messages.
        file: Its file name.
        purpose: What it is used for.
        licence: Its licence, and the licence of its training data if that restricts the use.
        commercial: Whether commercial use is allowed.
        size: In bytes.
        sha256: Hex digest of its content.
        url: Where it is published; empty if a Python package contains it.
        package: The package that contains it, in its folder `models`.
    """

    name: str
    file: str
    purpose: str
    licence: str
    commercial: bool
    size: int
    sha256: str
    url: str = ""
    package: str = ""


_FILES = (
    ModelFile(
        "face_landmarker",
        "face_landmarker.task",
        "detector blazeface, landmark model face-mesh",
        "Apache 2.0 (Google)",
        True,
        3_758_596,
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
        "float16/1/face_landmarker.task",
    ),
    ModelFile(
        "dlib_landmarks",
        "shape_predictor_68_face_landmarks.dat",
        "landmark model dlib",
        "trained on iBUG 300-W, which excludes commercial use",
        False,
        99_693_937,
        "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        package="face_recognition_models",
    ),
    ModelFile(
        "dlib_resnet",
        "dlib_face_recognition_resnet_model_v1.dat",
        "backbone dlib_resnet",
        "public domain (dlib)",
        True,
        22_466_066,
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        package="face_recognition_models",
    ),
)

MODEL_FILES = {file.name: file for file in _FILES}
