"""BlazeFace on photographs: faces of every size, and the same ones in any frame."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.faces.blazeface import BlazeDetection, BlazeFace, frame_sides, merge

Gray = NDArray[np.uint8]

TIGHT = np.array([0.1, 0.1, -0.2, -0.2])  # of a box xywh, for the eight tenths in its middle


@pytest.fixture(scope="module")
def detector(landmarker_file: Path) -> BlazeFace:
    return BlazeFace(landmarker_file)


def paste(photo: Gray, scale: float, x: int, y: int) -> Gray:
    """A frame of 1280 × 960 px that shows a reduced photograph on a plain background."""
    frame = np.full((960, 1280), 128, np.uint8)
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame[y : y + small.shape[0], x : x + small.shape[1]] = small
    return frame


def test_finds_one_face_in_most_photographs(detector: BlazeFace, portraits: list[Gray]) -> None:
    counts = [len(detector(photo, 32, every_size=False)) for photo in portraits]
    assert counts.count(1) >= 0.95 * len(portraits)


def test_finds_small_faces_in_large_frames(detector: BlazeFace, portraits: list[Gray]) -> None:
    found, total = 0, 0
    for photo in portraits[:12]:
        faces = detector(photo, 32, every_size=False)
        if len(faces) != 1:
            continue
        scale = 48 / max(faces[0].box_xywh[2:])
        expected = faces[0].box_xywh * scale + np.array([700, 500, 0, 0])
        small = detector(paste(photo, scale, 700, 500), 32, every_size=False)
        total += 1
        found += len(small) == 1 and bool(np.abs(small[0].box_xywh - expected).max() < 16)
    assert found >= 0.8 * total


def test_finds_faces_that_fill_the_image(detector: BlazeFace, portraits: list[Gray]) -> None:
    scores = []
    for photo in portraits:
        faces = detector(photo, 32, every_size=False)
        if len(faces) != 1:
            continue
        x, y, w, h = (faces[0].box_xywh + np.tile(faces[0].box_xywh[2:], 2) * TIGHT).astype(int)
        tight = photo[max(0, y) : y + h, max(0, x) : x + w].copy()
        found = detector(tight, 16, every_size=False)
        scores.append(found[0].score if len(found) == 1 else 0)
    assert np.mean(np.array(scores) > 0.6) >= 0.9


def test_smaller_faces_only_count_if_wanted(detector: BlazeFace, portraits: list[Gray]) -> None:
    photo = portraits[1]
    frame = paste(photo, 0.15, 1100, 800)
    frame[:700, :700] = cv2.resize(photo, (700, 700))
    assert len(detector(frame, 32, every_size=False)) == 1
    both = detector(frame, 32, every_size=True)
    assert len(both) == 2
    assert both[0].box_xywh[2] > both[1].box_xywh[2]


def test_colour_is_accepted(detector: BlazeFace, portraits: list[Gray]) -> None:
    gray = detector(portraits[1], 32, every_size=False)[0]
    colour = np.repeat(portraits[1][:, :, None], 3, axis=2)
    assert np.array_equal(gray.box_xywh, detector(colour, 32, every_size=False)[0].box_xywh)


def test_plain_image_has_no_face(detector: BlazeFace) -> None:
    assert detector(np.full((200, 300), 90, np.uint8), 32, every_size=True) == []


@pytest.mark.parametrize(
    ("longer", "min_px", "sides"),
    [(350, 70, [128, 256]), (128, 64, [128]), (1280, 32, [128, 256, 512, 1024, 2048])],
)
def test_frames_cover_the_smallest_face(longer: int, min_px: float, sides: list[int]) -> None:
    assert list(frame_sides(longer, min_px)) == sides


def test_overlapping_detections_are_one_face() -> None:
    points = np.zeros((6, 2))
    one = BlazeDetection(np.array([0.0, 0, 10, 10]), points, 0.9)
    same = BlazeDetection(np.array([1.0, 1, 10, 10]), points, 0.3)
    other = BlazeDetection(np.array([50.0, 0, 10, 10]), points, 0.6)
    merged = merge([one, same, other])
    assert [face.score for face in merged] == [0.9, 0.6]
    assert np.allclose(merged[0].box_xywh, [0.25, 0.25, 10, 10])


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "face.task").write_bytes(b"no archive")
    with pytest.raises(UserError, match="is not a face landmarker"):
        BlazeFace(tmp_path / "face.task")
    with pytest.raises(UserError, match="does not exist"):
        BlazeFace(tmp_path / "missing.task")
