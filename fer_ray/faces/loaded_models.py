"""The detector and the landmark model of an extraction, loaded once per process."""

from functools import cache
from typing import Any

from fer_ray.faces.crops import cascade_file
from fer_ray.faces.detectors import WholeImage
from fer_ray.faces.landmarks import import_dlib
from fer_ray.faces.model_paths import detector_file, landmark_file
from fer_ray.faces.reader import FaceReader
from fer_ray.settings.extraction import WHOLE, Crop, ExtractSettings, Landmarks
from fer_ray.settings.face_models import DETECTORS, DLIB, LANDMARK_MODELS


@cache
def load_locator(settings: Landmarks) -> Any:
    """Load the landmark model.

    Raises:
        UserError: Its file is missing or contains something else.
    """
    return LANDMARK_MODELS[settings.model].load(settings, landmark_file(settings))


@cache
def load_reader(crop: Crop, landmarks: Landmarks) -> FaceReader:
    """Load the detector, and what it needs of the landmark model.

    Raises:
        UserError: A model file is missing or contains something else.
    """
    return FaceReader(_load_detector(crop, landmarks), load_locator(landmarks), crop.size_px)


def _load_detector(crop: Crop, landmarks: Landmarks) -> Any:
    if crop.faces == WHOLE:
        return WholeImage()
    return DETECTORS[crop.detector].load(crop, detector_file(crop, landmarks))


def require_face_models(settings: ExtractSettings) -> None:
    """Check that libraries and model files of an extraction are present, fetching missing files.

    A file that the user passes is loaded, since it may be anything.

    Raises:
        UserError: Something is missing, or a file is not a model of its kind.
    """
    if settings.crop.faces != WHOLE:
        cascade_file(settings.crop.cascades[0])
    if settings.landmarks.model == DLIB:
        import_dlib()
    if settings.landmarks.file is not None or settings.crop.file is not None:
        load_reader(settings.crop, settings.landmarks)
