from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_ray.faces.crops import FaceFinder, crop_face
from fer_ray.faces.loaded_models import load_locator
from fer_ray.features.appearance import FACE_PX, HOG_WIDTH, align, hog, similarity
from fer_ray.features.geometry import LEFT_EYE, RIGHT_EYE
from fer_ray.settings.extraction import Crop, Landmarks
from tests.images import read_gray

Face = tuple[np.ndarray, np.ndarray]  # crop (350, 350) uint8, landmarks (68, 2)


@pytest.fixture(scope="module")
def faces(tiny_corpus: Path) -> list[Face]:
    finder, locator = FaceFinder(Crop()), load_locator(Landmarks())
    faces = []
    for file in sorted(tiny_corpus.glob("cohn-kanade-images/*/*/*.png"))[::9][:3]:
        gray = read_gray(file)
        box = finder(gray).box_xywh
        assert box is not None
        crop = crop_face(gray, box)
        points = locator(crop)[1]
        assert points is not None
        faces.append((crop, points.astype(float)))
    return faces


def transformed(face: Face, degrees: float, scale: float, shift: tuple[float, float]) -> Face:
    """The face rotated and scaled about the centre of the crop, and shifted."""
    crop, points = face
    matrix = cv2.getRotationMatrix2D((175, 175), degrees, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(crop, matrix, (350, 350)), points @ matrix[:, :2].T + matrix[:, 2]


def hog_similarity(a: Face, b: Face) -> float:
    """Cosine of the angle between the HOGs of two faces."""
    first, second = (hog(points[None], [crop])[0] for crop, points in (a, b))
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
def test_alignment_is_invariant_to_similarities(
    faces: list[Face], degrees: float, scale: float, shift: tuple[float, float]
) -> None:
    for face in faces:
        assert hog_similarity(face, transformed(face, degrees, scale, shift)) > 0.97


def test_rotated_face_differs_without_alignment(faces: list[Face]) -> None:
    for face in faces:
        rotated = transformed(face, 12, 1.0, (0, 0))
        assert hog_similarity(face, (rotated[0], face[1])) < hog_similarity(face, rotated) - 0.05


def test_eyes_and_mouth_are_at_their_anchors(faces: list[Face]) -> None:
    for _, points in faces:
        matrix = similarity(points)
        aligned = points @ matrix[:, :2].T + matrix[:, 2]
        eyes = [aligned[part].mean(axis=0) for part in (RIGHT_EYE, LEFT_EYE)]
        np.testing.assert_allclose(eyes, [[40, 44], [88, 44]], atol=6)
        np.testing.assert_allclose(aligned[48:68].mean(axis=0), [64, 97], atol=6)


def test_similarity_preserves_shape(faces: list[Face]) -> None:
    (a, b), (c, d) = similarity(faces[0][1])[:, :2]
    assert (a, b) == pytest.approx((d, -c))
    assert a * d - b * c > 0


def test_mirrored_face_has_mirrored_gradients(faces: list[Face]) -> None:
    aligned = align(*faces[0])
    blocks = cv2.HOGDescriptor((128, 128), (32, 32), (16, 16), (16, 16), 9)
    straight, mirrored = (
        np.reshape(blocks.compute(np.ascontiguousarray(image)), (7, 7, 2, 2, 9))
        for image in (aligned, aligned[:, ::-1])
    )
    # The columns of blocks, the columns of cells and the orientations are reversed.
    np.testing.assert_allclose(mirrored[::-1, :, ::-1, :, ::-1], straight, atol=0.1)


def test_invariance_to_light_and_contrast(faces: list[Face]) -> None:
    crop, points = faces[0]
    dim = (40 + 0.5 * crop).astype(np.uint8)
    assert hog_similarity((crop, points), (dim, points)) > 0.99


def test_one_row_per_face(faces: list[Face]) -> None:
    crops, points = [face[0] for face in faces], np.array([face[1] for face in faces])
    assert hog(points[:0], []).shape == (0, HOG_WIDTH)
    together = hog(points, crops)
    assert together.shape == (3, HOG_WIDTH)
    np.testing.assert_array_equal(together[1:2], hog(points[1:2], crops[1:2]))


def test_coinciding_points() -> None:
    crop = np.full((350, 350), 90, np.uint8)
    points = np.full((68, 2), 60.0)
    assert align(crop, points).shape == (FACE_PX, FACE_PX)
    assert np.isfinite(hog(points[None], [crop])).all()
