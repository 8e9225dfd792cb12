from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_ray.faces.crops import FaceFinder, cut
from fer_ray.faces.landmarks import LandmarkLocator
from fer_ray.features.appearance import FACE_PX, HOG_WIDTH, align, hog, similarity
from fer_ray.features.geometry import LEFT_EYE, RIGHT_EYE
from fer_ray.settings.extraction import Crop, Landmarks
from fer_ray.sources.decoding import read_gray

Face = tuple[np.ndarray, np.ndarray]  # crop (350, 350) uint8, landmarks (68, 2)


@pytest.fixture(scope="module")
def faces(tiny_corpus: Path) -> list[Face]:
    finder, locator = FaceFinder(Crop()), LandmarkLocator(Landmarks())
    found = []
    for file in sorted(tiny_corpus.glob("cohn-kanade-images/*/*/*.png"))[::9][:3]:
        gray = read_gray(file)
        box = finder(gray).box_xywh
        assert box is not None
        crop = cut(gray, box)
        points = locator(crop)[1]
        assert points is not None
        found.append((crop, points.astype(float)))
    return found


def transformed(face: Face, degrees: float, scale: float, shift: tuple[float, float]) -> Face:
    """The face turned and scaled about the crop's centre and shifted, pixels and points alike."""
    crop, points = face
    matrix = cv2.getRotationMatrix2D((175, 175), degrees, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(crop, matrix, (350, 350)), points @ matrix[:, :2].T + matrix[:, 2]


def likeness(one: Face, other: Face) -> float:
    """Cosine of the angle between the HOGs of two faces."""
    first, second = (hog(points[None], [crop])[0] for crop, points in (one, other))
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [
        (12, 1.0, (0, 0)),
        (-12, 1.0, (0, 0)),
        (0, 0.8, (0, 0)),
        (0, 1.0, (15, -9)),
        (8, 0.9, (-6, 6)),
    ],
)
def test_alignment_undoes_turn_scale_and_shift(
    faces: list[Face], degrees: float, scale: float, shift: tuple[float, float]
) -> None:
    for face in faces:
        assert likeness(face, transformed(face, degrees, scale, shift)) > 0.97


def test_without_alignment_a_turned_face_would_look_other(faces: list[Face]) -> None:
    for face in faces:
        turned = transformed(face, 12, 1.0, (0, 0))
        assert likeness(face, (turned[0], face[1])) < likeness(face, turned) - 0.05


def test_eyes_and_mouth_come_to_their_places(faces: list[Face]) -> None:
    for _, points in faces:
        matrix = similarity(points)
        placed = points @ matrix[:, :2].T + matrix[:, 2]
        eyes = [placed[part].mean(axis=0) for part in (RIGHT_EYE, LEFT_EYE)]
        np.testing.assert_allclose(eyes, [[40, 44], [88, 44]], atol=6)
        np.testing.assert_allclose(placed[48:68].mean(axis=0), [64, 97], atol=6)


def test_a_similarity_neither_stretches_nor_mirrors(faces: list[Face]) -> None:
    (a, b), (c, d) = similarity(faces[0][1])[:, :2]
    assert (a, b) == pytest.approx((d, -c))
    assert a * d - b * c > 0


def test_a_mirrored_face_has_the_mirrored_gradients(faces: list[Face]) -> None:
    aligned = align(*faces[0])
    blocks = cv2.HOGDescriptor((128, 128), (32, 32), (16, 16), (16, 16), 9)
    straight, mirrored = (
        np.reshape(blocks.compute(np.ascontiguousarray(image)), (7, 7, 2, 2, 9))
        for image in (aligned, aligned[:, ::-1])
    )
    # Blocks, the cells of a block and the bins of direction all change sides.
    np.testing.assert_allclose(mirrored[::-1, :, ::-1, :, ::-1], straight, atol=0.1)


def test_light_and_contrast_hardly_matter(faces: list[Face]) -> None:
    crop, points = faces[0]
    dim = (40 + 0.5 * crop).astype(np.uint8)
    assert likeness((crop, points), (dim, points)) > 0.99


def test_no_face_gives_no_row_and_each_face_its_own(faces: list[Face]) -> None:
    crops, points = [face[0] for face in faces], np.array([face[1] for face in faces])
    assert hog(points[:0], []).shape == (0, HOG_WIDTH)
    together = hog(points, crops)
    assert together.shape == (3, HOG_WIDTH)
    np.testing.assert_array_equal(together[1:2], hog(points[1:2], crops[1:2]))


def test_points_that_fall_together_are_no_error() -> None:
    crop = np.full((350, 350), 90, np.uint8)
    points = np.full((68, 2), 60.0)
    assert align(crop, points).shape == (FACE_PX, FACE_PX)
    assert np.isfinite(hog(points[None], [crop])).all()
