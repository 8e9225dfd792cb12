"""From an image to the faces to process, with every detector and landmark model."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fer_ray.faces.crops import crop_face
from fer_ray.faces.loaded_models import load_locator, load_reader
from fer_ray.faces.reader import FaceReader, Reading
from fer_ray.settings.extraction import Crop, Faces, Landmarks
from fer_ray.settings.face_models import DETECTORS, LANDMARK_MODELS
from fer_ray.vocabulary import Status

Gray = NDArray[np.uint8]
CROP_PX = 350


def settings(detector: str, model: str, file: Path) -> tuple[Crop, Landmarks]:
    uses_file = detector == "blazeface"
    crop = Crop(detector=detector, min_size_px=32, file=str(file) if uses_file else None)
    return crop, Landmarks(model=model, file=str(file) if model == "face-mesh" else None)


def read(reader: FaceReader, image: Gray, faces: Faces = "one") -> Reading:
    return reader(image, faces, 1, (image.shape[1], image.shape[0]))


@pytest.fixture(scope="module")
def reader(landmarker_file: Path) -> FaceReader:
    return load_reader(*settings("blazeface", "face-mesh", landmarker_file))


@pytest.fixture(scope="module")
def portrait(reader: FaceReader, portraits: list[Gray]) -> Gray:
    """The first photograph with an upright face of more than 100 px."""
    for photo in portraits:
        faces = read(reader, photo).faces
        if faces and abs(faces[0].angle) < 5 and faces[0].box_xywh[2] > 100:
            return photo
    raise AssertionError("no photograph has an upright face")


@pytest.mark.parametrize(("detector", "model"), list(itertools.product(DETECTORS, LANDMARK_MODELS)))
def test_any_detector_with_any_landmark_model(
    landmarker_file: Path, portrait: Gray, detector: str, model: str
) -> None:
    crop, landmarks = settings(detector, model, landmarker_file)
    reading = read(load_reader(crop, landmarks), portrait)
    assert reading.status is Status.OK
    [framed] = reading.faces
    assert framed.crop.shape == (CROP_PX, CROP_PX)
    if model == "face-mesh":
        assert framed.mesh is not None
        points = framed.mesh[:, :2]
    else:
        located = load_locator(landmarks)(framed.crop)[1]
        assert located is not None
        points = located
    assert np.all((points > -0.2 * CROP_PX) & (points < 1.2 * CROP_PX))
    assert np.ptp(points, axis=0).min() > 0.4 * CROP_PX  # the face fills the crop


@pytest.mark.parametrize("angle", [30, -30])
def test_turned_face_is_brought_upright(reader: FaceReader, portrait: Gray, angle: int) -> None:
    photo = cv2.copyMakeBorder(portrait, 100, 100, 100, 100, cv2.BORDER_REPLICATE)
    height, width = photo.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -angle, 1)
    turned = cv2.warpAffine(photo, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    [upright], [rotated] = (read(reader, np.asarray(one)).faces for one in (photo, turned))
    assert abs(rotated.angle - upright.angle - angle) < 3
    assert upright.mesh is not None
    assert rotated.mesh is not None
    distance = np.linalg.norm(rotated.mesh[:, :2] - upright.mesh[:, :2], axis=1)
    assert np.median(distance) < 0.03 * CROP_PX
    inner = slice(CROP_PX // 5, -CROP_PX // 5)  # the corners show other parts of the image
    first, second = (face.crop[inner, inner].astype(float) for face in (upright, rotated))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.85


@pytest.mark.parametrize("side", [48, 96])
def test_whole_image_is_a_face(
    reader: FaceReader, landmarker_file: Path, portrait: Gray, side: int
) -> None:
    [framed] = read(reader, portrait).faces
    small = cv2.resize(framed.crop, (side, side), interpolation=cv2.INTER_AREA)
    crop, landmarks = settings("blazeface", "face-mesh", landmarker_file)
    whole = load_reader(crop.model_copy(update={"faces": "whole"}), landmarks)
    [face] = read(whole, np.asarray(small, np.uint8), "whole").faces
    assert (face.face.found_by, face.crop.shape) == ("whole", (CROP_PX, CROP_PX))
    assert face.mesh is not None
    assert framed.mesh is not None
    scale = face.box_xywh[2] / side  # of the crop, relative to the small image
    found = (face.mesh[:, :2] - CROP_PX / 2) * scale
    distance = np.linalg.norm(found - (framed.mesh[:, :2] - CROP_PX / 2), axis=1)
    assert np.median(distance) < 0.1 * CROP_PX


def test_whole_image_needs_no_detector(landmarker_file: Path) -> None:
    plain = np.full((48, 60), 128, np.uint8)
    reader = load_reader(Crop(faces="whole"), Landmarks())
    [face] = read(reader, plain, "whole").faces
    assert face.box_xywh == (0, -6, 60, 60)  # the square around the image
    assert np.array_equal(np.unique(face.crop), [128])


@pytest.mark.parametrize(
    ("faces", "status", "chosen"),
    [("one", Status.SEVERAL_FACES, 0), ("largest", Status.OK, 1), ("all", Status.OK, 2)],
)
def test_two_faces(
    reader: FaceReader, portrait: Gray, faces: Faces, status: Status, chosen: int
) -> None:
    reading = read(reader, np.hstack([portrait, portrait]), faces)
    assert (reading.status, len(reading.faces), reading.seen) == (status, chosen, 2)
    assert (reading.error is None) == bool(chosen)


def test_image_without_a_face(reader: FaceReader) -> None:
    reading = read(reader, np.full((300, 400), 90, np.uint8))
    assert (reading.status, reading.seen, reading.faces) == (Status.NO_FACE, 0, ())
    assert reading.error is not None


def test_crop_is_reproduced_from_box_and_angle(reader: FaceReader, portraits: list[Gray]) -> None:
    angles = []
    for photo in portraits[:12]:
        for face in read(reader, photo, "largest").faces:
            again = crop_face(photo, face.box_xywh, CROP_PX, face.angle)
            assert np.array_equal(again, face.crop)
            angles.append(face.angle)
    assert np.ptp(angles) > 5  # some were turned
