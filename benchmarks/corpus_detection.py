"""Detection of faces and landmarks in frames of the synthetic corpus, rendered in memory."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.faces.crops import crop_face, load_cascade
from fer_ray.faces.loaded_models import load_locator
from fer_ray.settings.extraction import Crop, Landmarks
from fer_ray.synthetic.sequences import SequencePlan, SubjectPlan, render_sequence
from fer_ray.vocabulary import CASCADES

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Detection:
    """What the reference detectors find in one image. Landmarks have shape (68, 2).

    Attributes:
        faces: Number of faces by cascade.
        dlib_faces: Number of faces in the crop. None: no crop.
        landmarks: Located points in image pixels. None: not located.
        crop_landmarks: The same points in pixels of the crop.
    """

    faces: dict[str, int]
    dlib_faces: int | None = None
    landmarks: Points | None = None
    crop_landmarks: Points | None = None


@dataclass(frozen=True)
class CorpusFrame:
    """One frame of the corpus.

    Attributes:
        subject: Number of the subject.
        session: Number of the session.
        emotion: Emotion of the sequence.
        role: `neutral` (first frame), `peak` (last frame) or `between`.
        render_ms: CPU time of rendering, which other load on the machine does not affect.
        true_landmarks: Rendered points (68, 2) in image pixels.
        detection: What the detectors find.
    """

    subject: int
    session: int
    emotion: str | None
    role: str
    render_ms: float
    true_landmarks: Points
    detection: Detection


@cache
def _detectors() -> tuple[dict[str, Any], Any]:
    return {name: load_cascade(name) for name in CASCADES}, load_locator(Landmarks())


def detect_subject(plan: SubjectPlan) -> list[CorpusFrame]:
    """Render one subject and run the detectors on every frame."""
    cv2.setNumThreads(1)
    _detectors()  # loaded before rendering is timed
    return [frame for sequence in plan.sequences for frame in _detect_sequence(plan, sequence)]


def _detect_sequence(plan: SubjectPlan, sequence: SequencePlan) -> Iterator[CorpusFrame]:
    start = time.process_time()
    for index, (image, true_landmarks) in enumerate(render_sequence(plan, sequence)):
        render_ms = 1000 * (time.process_time() - start)
        role = {0: "neutral", sequence.frames - 1: "peak"}.get(index, "between")
        gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        yield CorpusFrame(
            plan.number, sequence.session, sequence.emotion, role, render_ms, true_landmarks,
            detect(np.asarray(gray, np.uint8)),
        )  # fmt: skip
        start = time.process_time()


def detect(gray: NDArray[np.uint8]) -> Detection:
    """Run the reference detectors on a grayscale image (h, w)."""
    cascades, locator = _detectors()
    settings = Crop()
    boxes = {
        name: cascade.detectMultiScale(
            gray,
            settings.scale_factor,
            settings.min_neighbors,
            cv2.CASCADE_SCALE_IMAGE,
            (settings.min_size_px,) * 2,
        )
        for name, cascade in cascades.items()
    }
    faces = {name: len(found) for name, found in boxes.items()}
    box = next((found[0] for found in boxes.values() if len(found) == 1), None)
    if box is None:
        return Detection(faces)
    count, points = locator(crop_face(gray, box, settings.size_px))
    if points is None:
        return Detection(faces, count)
    landmarks = np.asarray(points * box[2:] / settings.size_px + box[:2], np.float64)
    return Detection(faces, count, landmarks, np.asarray(points, np.float64))
