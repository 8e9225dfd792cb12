from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_ray.faces.crops import FaceFinder, crop_face
from fer_ray.faces.loaded_models import load_locator
from fer_ray.features.appearance import FACE_PX, align, hog, similarity
from fer_ray.features.geometry import LEFT_EYE, RIGHT_EYE
from fer_ray.features.patches import REGIONS, patch
from fer_ray.models.augmented_copies import MIRROR
from fer_ray.networks.bottleneck.augmentation import apply_to_landmarks
from fer_ray.settings.extraction import Crop, Landmarks
from fer_ray.settings.feature_sets import FEATURE_SETS
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


@pytest.mark.parametrize("name", ["hog", "hog8", "hog32", "hog_patches"])
def test_mirrored_features_are_those_of_the_mirrored_face(faces: list[Face], name: str) -> None:
    feature_set = FEATURE_SETS[name]
    crop, points = faces[0]
    mirrored_points = apply_to_landmarks(MIRROR, points, len(crop))
    straight = feature_set.compute(points[None], [crop])
    mirrored = feature_set.compute(mirrored_points[None], [np.ascontiguousarray(crop[:, ::-1])])
    # The aligned face of 128 px is centred at 64 px, so its mirror image is 1 px off.
    own = np.linalg.norm(feature_set.mirror(straight) - mirrored)
    assert own < 0.6 * np.linalg.norm(straight - mirrored)
    assert own < 0.4 * np.linalg.norm(mirrored)
    np.testing.assert_array_equal(feature_set.mirror(feature_set.mirror(straight)), straight)


def test_patches_follow_their_region(faces: list[Face]) -> None:
    crop, points = faces[0]
    turned = transformed(faces[0], 10, 0.9, (8, -5))
    for region in REGIONS:
        straight, other = (patch(*face, region).ravel() for face in ((crop, points), turned))
        assert np.corrcoef(straight, other)[0, 1] > 0.9


def test_invariance_to_light_and_contrast(faces: list[Face]) -> None:
    crop, points = faces[0]
    dim = (40 + 0.5 * crop).astype(np.uint8)
    assert hog_similarity((crop, points), (dim, points)) > 0.99


def test_one_row_per_face(faces: list[Face]) -> None:
    crops, points = [face[0] for face in faces], np.array([face[1] for face in faces])
    assert hog(points[:0], []).shape == (0, 1764)
    together = hog(points, crops)
    assert together.shape == (3, 1764)
    np.testing.assert_array_equal(together[1:2], hog(points[1:2], crops[1:2]))


def test_coinciding_points() -> None:
    crop = np.full((350, 350), 90, np.uint8)
    points = np.full((68, 2), 60.0)
    assert align(crop, points).shape == (FACE_PX, FACE_PX)
    assert np.isfinite(hog(points[None], [crop])).all()
