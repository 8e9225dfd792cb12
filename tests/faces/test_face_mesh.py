"""The face mesh on photographs: turned and moved regions, and stored numbers."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fer_ray.faces.blazeface import LEFT_EYE, RIGHT_EYE, BlazeFace
from fer_ray.faces.face_mesh import REGION_SCALE, FaceMesh, Mesh, eye_angle
from fer_ray.faces.regions import Region
from fer_ray.vocabulary import BLENDSHAPES
from tests.conftest import PHOTOS

Gray = NDArray[np.uint8]


@pytest.fixture(scope="module")
def mesh(landmarker_file: Path) -> FaceMesh:
    return FaceMesh(landmarker_file)


def locate(mesh: FaceMesh, detector: BlazeFace, image: Gray) -> Mesh:
    face = detector(image, 32, every_size=False)[0]
    across = face.key_points[LEFT_EYE] - face.key_points[RIGHT_EYE]
    x, y, w, h = face.box_xywh
    centre = np.array([x + w / 2, y + h / 2])
    angle = float(np.arctan2(across[1], across[0]))
    return mesh(image, Region(centre, REGION_SCALE * max(w, h), angle))


def test_region_maps_its_corners() -> None:
    region = Region(np.array([50.0, 40.0]), 20, np.pi / 2)
    corner = region.to_image(100) @ [0, 0, 1]
    assert np.allclose(corner, [60, 30])


def test_mesh_follows_a_turned_face(
    mesh: FaceMesh, landmarker_file: Path, portraits: list[Gray]
) -> None:
    photo, detector = portraits[1], BlazeFace(landmarker_file)
    upright = locate(mesh, detector, photo)
    turn = cv2.getRotationMatrix2D((175, 175), -25, 1)
    turned = locate(mesh, detector, cv2.warpAffine(photo, turn, (350, 350)))
    expected = upright.points[:, :2] @ turn[:, :2].T + turn[:, 2]
    eyes = np.linalg.norm(upright.points[33, :2] - upright.points[263, :2])
    distance = np.linalg.norm(turned.points[:, :2] - expected, axis=1).mean()
    assert distance < 0.06 * eyes
    angle = np.degrees(eye_angle(turned.points) - eye_angle(upright.points))
    assert angle == pytest.approx(25, abs=3)


def test_upright_region_frames_the_mesh(
    mesh: FaceMesh, landmarker_file: Path, portraits: list[Gray]
) -> None:
    located = locate(mesh, BlazeFace(landmarker_file), portraits[1])
    inverse = cv2.invertAffineTransform(located.region(1.25).to_image(100))
    points = located.points[:, :2] @ inverse[:, :2].T + inverse[:, 2]
    assert points.min() == pytest.approx(10, abs=0.01)
    assert points.max() == pytest.approx(90, abs=0.01)
    assert abs(points[33, 1] - points[263, 1]) < 2


def test_presence_tells_faces_from_ground(
    mesh: FaceMesh, landmarker_file: Path, portraits: list[Gray]
) -> None:
    assert locate(mesh, BlazeFace(landmarker_file), portraits[1]).presence > 0.9
    ground = np.full((200, 200), 120, np.uint8)
    assert mesh(ground, Region(np.array([100.0, 100.0]), 150, 0)).presence < 0.1


def test_happy_faces_smile(mesh: FaceMesh, landmarker_file: Path) -> None:
    with (PHOTOS / "dump" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    detector, smiles = BlazeFace(landmarker_file), {}
    for emotion in ("happy", "anger"):
        names = [row["path"] for row in rows if row["emotion"] == emotion][:8]
        images = [cv2.imread(str(PHOTOS / "dump" / name), cv2.IMREAD_GRAYSCALE) for name in names]
        values = [mesh.blendshapes(locate(mesh, detector, image).points) for image in images]
        assert np.shape(values) == (8, 52)
        assert 0 <= np.min(values) <= np.max(values) <= 1
        smiles[emotion] = np.mean(values, axis=0)[BLENDSHAPES.index("mouthSmileLeft")]
    assert smiles["happy"] > 0.3 > smiles["anger"]


# Of the first frame of `tiny_corpus`, measured with OpenCV 4.14 on x86-64.
POINTS = {
    1: (293.73, 291.65, -51.22),
    33: (228.03, 221.37, 14.85),
    61: (251.66, 327.01, 6.87),
    152: (289.79, 396.93, 10.15),
    263: (364.61, 225.15, 13.08),
    291: (333.70, 329.96, 5.44),
}
SCORES = {
    "browInnerUp": 0.3771,
    "eyeBlinkLeft": 0.0925,
    "jawOpen": 0.0009,
    "mouthSmileLeft": 0.0210,
    "mouthPressLeft": 0.0932,
}


def test_networks_give_the_stored_numbers(
    mesh: FaceMesh, landmarker_file: Path, tiny_corpus: Path
) -> None:
    frame = min(tiny_corpus.glob("cohn-kanade-images/*/*/*.png"))
    image = np.asarray(cv2.imread(str(frame), cv2.IMREAD_GRAYSCALE), np.uint8)
    detector = BlazeFace(landmarker_file)
    [face] = detector(image, 32, every_size=False)
    assert face.box_xywh == pytest.approx([178.27, 160.68, 238.47, 238.45], abs=0.05)
    assert face.score == pytest.approx(0.9637, abs=1e-3)
    located = locate(mesh, detector, image)
    assert located.points[list(POINTS)] == pytest.approx(np.array([*POINTS.values()]), abs=0.05)
    scores = mesh.blendshapes(located.points)
    assert {name: scores[BLENDSHAPES.index(name)] for name in SCORES} == pytest.approx(
        SCORES, abs=2e-3
    )
