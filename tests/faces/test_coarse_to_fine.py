from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_ray.faces.crops import FaceDetection, FaceFinder, crop_face
from fer_ray.faces.loaded_models import load_locator
from fer_ray.settings.extraction import Crop, ExtractSettings, Landmarks, extract_fingerprint
from fer_ray.settings.loading import load_settings
from fer_ray.settings.root import Settings
from fer_ray.vocabulary import Status
from tests.images import read_gray

REFERENCE = ExtractSettings()
FAST = Settings(profile="fast").extract
Points = np.ndarray[Any, Any]


def peaks(root: Path) -> list[Path]:
    """The last frame of each sequence."""
    folders = sorted(root.glob("cohn-kanade-images/*/*"))
    return [sorted(folder.glob("*.png"))[-1] for folder in folders if any(folder.glob("*.png"))]


def locate(
    files: list[Path], settings: ExtractSettings
) -> list[tuple[FaceDetection, Points | None]]:
    """Detection and landmarks of each file."""
    finder, locator = FaceFinder(settings.crop), load_locator(settings.landmarks)
    results = []
    for file in files:
        gray = read_gray(file)
        detection = finder(gray)
        box = detection.box_xywh
        results.append((detection, None if box is None else locator(crop_face(gray, box))[1]))
    return results


def assert_agree(files: list[Path], landmarked: float) -> None:
    """Check the guarantees of the fast profile on `files`."""
    pairs = list(zip(locate(files, REFERENCE), locate(files, FAST), strict=True))
    same_status = [slow.status == fast.status for (slow, _), (fast, _) in pairs]
    assert np.mean(same_status) >= 0.99
    same_box = [slow.box_xywh == fast.box_xywh for (slow, _), (fast, _) in pairs if slow.box_xywh]
    assert np.mean(same_box) >= 0.9
    same_outcome = [(slow is None) == (fast is None) for (_, slow), (_, fast) in pairs]
    assert np.mean(same_outcome) >= landmarked
    distances = [
        np.linalg.norm(slow - fast, axis=1).mean()
        for (_, slow), (_, fast) in pairs
        if slow is not None and fast is not None
    ]
    assert np.mean(distances) <= 2.0


def test_fast_profile_agrees_on_synthetic_faces(corpus: Path) -> None:
    assert_agree(peaks(corpus)[::2], landmarked=1.0)


@pytest.mark.parametrize("upsample", [0, 1])
def test_skipping_small_faces_keeps_landmarks(corpus: Path, upsample: int) -> None:
    full = load_locator(Landmarks(upsample=upsample, channels=1))
    partial = load_locator(Landmarks(upsample=upsample, channels=1, min_face_share=0.6))
    finder, distances = FaceFinder(FAST.crop), []
    for file in peaks(corpus)[::2]:
        gray = read_gray(file)
        face = crop_face(gray, finder(gray).box_xywh)
        (_, expected), (_, points) = full(face), partial(face)
        distances.append(np.linalg.norm(expected - points, axis=1).mean())
    assert np.median(distances) == 0
    assert np.mean(distances) < 0.5


@pytest.mark.slow
@pytest.mark.thorough
def test_fast_profile_agrees_on_photographs(photos: Path) -> None:
    assert_agree(peaks(photos)[::3], landmarked=0.96)


@pytest.fixture(scope="module")
def face(tiny_corpus: Path) -> np.ndarray:
    return read_gray(peaks(tiny_corpus)[0])


@pytest.mark.parametrize("share", [0.3, 0.1])
def test_small_face_in_large_image(face: np.ndarray, share: float) -> None:
    finder = FaceFinder(FAST.crop)
    picture = np.full((1500, 2000), 120, np.uint8)
    height = round(1500 * share * 2)
    small = cv2.resize(face, (round(height * 640 / 490), height), interpolation=cv2.INTER_AREA)
    picture[500 : 500 + height, 300 : 300 + small.shape[1]] = small
    box = finder(picture).box_xywh
    assert box is not None
    x, y, w, h = box
    assert 300 <= x <= x + w <= 300 + small.shape[1]
    assert 500 <= y <= y + h <= 500 + height


def test_two_large_faces_are_several(face: np.ndarray) -> None:
    detection = FaceFinder(FAST.crop)(np.hstack([face, face]))
    assert (detection.status, detection.faces["default"]) == (Status.SEVERAL_FACES, 2)


@pytest.mark.parametrize("shape", [(200, 200), (1, 1), (1, 3000), (30, 20)])
def test_image_without_face(shape: tuple[int, int]) -> None:
    assert FaceFinder(FAST.crop)(np.full(shape, 128, np.uint8)).status is Status.NO_FACE


def test_face_below_minimum_size_is_not_found(face: np.ndarray) -> None:
    assert FaceFinder(Crop(min_face_share=0.95))(face).status is Status.NO_FACE
    assert FaceFinder(FAST.crop.model_copy(update={"min_size_px": 400}))(face).box_xywh is None


def test_profile_sets_defaults_and_fingerprint() -> None:
    fast = load_settings(None, ("profile=fast",))
    assert (fast.extract.crop.search, fast.extract.landmarks.channels) == ("coarse-to-fine", 1)
    partly = load_settings(None, ("profile=fast", "extract.landmarks.channels=3"))
    assert (partly.extract.crop.search, partly.extract.landmarks.channels) == ("coarse-to-fine", 3)
    all_settings = (Settings(), fast, partly)
    fingerprints = {
        extract_fingerprint(each.extract, {"landmarks": "a" * 64}) for each in all_settings
    }
    assert len(fingerprints) == 3


def test_reference_profile_is_the_default() -> None:
    assert Settings(profile="reference") == Settings()
    assert load_settings(None, ("profile=reference",)).extract == ExtractSettings()
    assert (REFERENCE.crop.search, REFERENCE.landmarks.fallback) == ("exhaustive", "none")
