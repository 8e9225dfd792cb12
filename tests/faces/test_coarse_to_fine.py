from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_ray.faces.crops import FaceFinder, FaceFound, cut
from fer_ray.faces.landmarks import LandmarkLocator
from fer_ray.settings.extraction import Crop, ExtractSettings, Landmarks, extract_fingerprint
from fer_ray.settings.loading import load_settings
from fer_ray.settings.root import Settings
from fer_ray.sources.decoding import read_gray
from fer_ray.vocabulary import Status

REFERENCE = ExtractSettings()
FAST = Settings(profile="fast").extract
Points = np.ndarray[Any, Any]


def peaks(root: Path) -> list[Path]:
    """The last frame of each sequence."""
    folders = sorted(root.glob("cohn-kanade-images/*/*"))
    return [sorted(folder.glob("*.png"))[-1] for folder in folders if any(folder.glob("*.png"))]


def ask(files: list[Path], settings: ExtractSettings) -> list[tuple[FaceFound, Points | None]]:
    finder, locator = FaceFinder(settings.crop), LandmarkLocator(settings.landmarks)
    answers = []
    for file in files:
        gray = read_gray(file)
        found = finder(gray)
        box = found.box_xywh
        answers.append((found, None if box is None else locator(cut(gray, box))[1]))
    return answers


def assert_agree(files: list[Path], landmarked: float) -> None:
    """The fast profile's promises, on the frames of `files`."""
    both = list(zip(ask(files, REFERENCE), ask(files, FAST), strict=True))
    decided = [one.status == other.status for (one, _), (other, _) in both]
    assert np.mean(decided) >= 0.99
    same = [one.box_xywh == other.box_xywh for (one, _), (other, _) in both if one.box_xywh]
    assert np.mean(same) >= 0.9
    located = [(one is None) == (other is None) for (_, one), (_, other) in both]
    assert np.mean(located) >= landmarked
    apart = [
        np.linalg.norm(one - other, axis=1).mean()
        for (_, one), (_, other) in both
        if one is not None and other is not None
    ]
    assert np.mean(apart) <= 2.0


def test_the_fast_profile_agrees_with_the_reference_on_drawn_faces(corpus: Path) -> None:
    assert_agree(peaks(corpus)[::2], landmarked=1.0)


@pytest.mark.parametrize("upsample", [0, 1])
def test_dlib_begun_at_the_size_that_is_needed_gives_the_points_of_its_whole_search(
    corpus: Path, upsample: int
) -> None:
    whole = LandmarkLocator(Landmarks(upsample=upsample, channels=1))
    begun = LandmarkLocator(Landmarks(upsample=upsample, channels=1, min_face_share=0.6))
    finder, apart = FaceFinder(FAST.crop), []
    for file in peaks(corpus)[::2]:
        gray = read_gray(file)
        face = cut(gray, finder(gray).box_xywh)
        (_, one), (_, other) = whole(face), begun(face)
        apart.append(np.linalg.norm(one - other, axis=1).mean())
    assert np.median(apart) == 0
    assert np.mean(apart) < 0.5


@pytest.mark.slow
@pytest.mark.thorough
def test_the_fast_profile_agrees_with_the_reference_on_photographs(photos: Path) -> None:
    assert_agree(peaks(photos)[::3], landmarked=0.96)


@pytest.fixture(scope="module")
def face(tiny_corpus: Path) -> np.ndarray:
    return read_gray(peaks(tiny_corpus)[0])


@pytest.mark.parametrize("share", [0.3, 0.1])
def test_a_small_face_in_a_large_picture_is_found_where_it_is(
    face: np.ndarray, share: float
) -> None:
    finder = FaceFinder(FAST.crop)
    picture = np.full((1500, 2000), 120, np.uint8)
    height = round(1500 * share * 2)
    small = cv2.resize(face, (round(height * 640 / 490), height), interpolation=cv2.INTER_AREA)
    picture[500 : 500 + height, 300 : 300 + small.shape[1]] = small
    found = finder(picture)
    assert found.box_xywh is not None
    x, y, w, h = found.box_xywh
    assert 300 <= x <= x + w <= 300 + small.shape[1]
    assert 500 <= y <= y + h <= 500 + height


def test_two_large_faces_are_several_in_the_fast_profile_too(face: np.ndarray) -> None:
    found = FaceFinder(FAST.crop)(np.hstack([face, face]))
    assert (found.status, found.faces["default"]) == (Status.SEVERAL_FACES, 2)


@pytest.mark.parametrize("shape", [(200, 200), (1, 1), (1, 3000), (30, 20)])
def test_pictures_without_a_face_or_room_for_one_have_no_face(shape: tuple[int, int]) -> None:
    assert FaceFinder(FAST.crop)(np.full(shape, 128, np.uint8)).status is Status.NO_FACE


def test_a_face_below_the_smallest_asked_for_is_not_found(face: np.ndarray) -> None:
    assert FaceFinder(Crop(min_face_share=0.95))(face).status is Status.NO_FACE
    assert FaceFinder(FAST.crop.model_copy(update={"min_size_px": 400}))(face).box_xywh is None


def test_the_profile_sets_what_is_not_set_and_enters_the_fingerprint() -> None:
    fast = load_settings(None, ("profile=fast",))
    assert (fast.extract.crop.search, fast.extract.landmarks.channels) == ("coarse-to-fine", 1)
    partly = load_settings(None, ("profile=fast", "extract.landmarks.channels=3"))
    assert (partly.extract.crop.search, partly.extract.landmarks.channels) == ("coarse-to-fine", 3)
    prints = {extract_fingerprint(one.extract, "model") for one in (Settings(), fast, partly)}
    assert len(prints) == 3


def test_the_reference_profile_is_the_default_and_changes_nothing() -> None:
    assert Settings(profile="reference") == Settings()
    assert load_settings(None, ("profile=reference",)).extract == ExtractSettings()
    assert (REFERENCE.crop.search, REFERENCE.landmarks.fallback) == ("exhaustive", "none")
