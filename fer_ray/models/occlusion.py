"""Which regions of a face a model relies on: how its prediction changes when each is covered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_ray.features.appearance import FACE_PX, Gray, similarity
from fer_ray.vocabulary import EMOTIONS

Floats = NDArray[np.float64]
# Crops (n, size, size) uint8 of one face and its landmarks (68, 2) to probabilities (n, 8).
Predict = Callable[[NDArray[np.uint8], Floats], Floats]

CELLS = 6  # rows and columns of the aligned face
PATCH_CELLS = 2  # rows and columns that a patch covers
STEPS = CELLS - PATCH_CELLS + 1  # positions of a patch in each direction
PASSES = STEPS**2 + 1  # predictions for each image


@dataclass(frozen=True)
class OcclusionMap:
    """The drop of a model's probability of the correct class, by class and covered cell.

    Attributes:
        experiment: Name of the experiment whose model was examined.
        n_images: Number of test images.
        drops: Mean drop of the probability (6, 6) by class, rows of the aligned face from the top.
    """

    experiment: str
    n_images: int
    drops: dict[str, Floats]

    def to_record(self) -> dict[str, Any]:
        """The same values as JSON types."""
        drops = {name: values.round(6).tolist() for name, values in self.drops.items()}
        return {"experiment": self.experiment, "n_images": self.n_images, "drops": drops}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "OcclusionMap":
        """The map of a record from `to_record`."""
        drops = {name: np.array(values) for name, values in record["drops"].items()}
        return cls(record["experiment"], record["n_images"], drops)


def occlusion_drops(predict: Predict, crop: Gray, landmarks_xy: Floats, label: int) -> Floats:
    """Compute by how much the probability of a class drops when each cell of a face is covered.

    A gray patch slides over the face (Zeiler and Fergus, Visualizing and understanding
    convolutional networks, ECCV 2014). Its positions are fixed in the aligned face
    (`appearance.align`), so that maps of several faces can be averaged. The value of a cell is the
    mean over the patches that cover it.

    Args:
        predict: The model, from crops of this face to class probabilities.
        crop: (size, size) uint8.
        landmarks_xy: (68, 2) crop pixels.
        label: Class code.

    Returns:
        (6, 6), rows from the top; negative where the probability rises.

    Examples:
        >>> drops = occlusion_drops(predict, crop, landmarks_xy, EMOTIONS.index("happy"))
        >>> drops[4:].mean() > drops[:2].mean()  # the mouth matters more than the brows
        True
    """
    copies = np.stack([crop, *_covered_copies(crop, landmarks_xy)])
    probabilities = predict(copies, landmarks_xy)[:, label]
    return _by_cell((probabilities[0] - probabilities[1:]).reshape(STEPS, STEPS))


def _covered_copies(crop: Gray, landmarks_xy: Floats) -> list[Gray]:
    """Copies of a crop with a patch in its mean gray, by row and column of the patch."""
    to_crop = cv2.invertAffineTransform(similarity(landmarks_xy))
    corners = np.array([[0, 0], [PATCH_CELLS, 0], [PATCH_CELLS, PATCH_CELLS], [0, PATCH_CELLS]])
    gray = round(float(crop.mean()))
    copies = []
    for row, column in np.ndindex(STEPS, STEPS):
        patch = (corners + np.array([column, row])) * (FACE_PX / CELLS)
        patch = patch @ to_crop[:, :2].T + to_crop[:, 2]
        copies.append(cv2.fillConvexPoly(crop.copy(), patch.round().astype(np.int32), gray))
    return copies


def _by_cell(drops: Floats) -> Floats:
    """The mean over the patches that cover each cell (6, 6), of their drops (5, 5)."""
    total, count = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for row, column in np.ndindex(drops.shape):
        covered = np.s_[row : row + PATCH_CELLS, column : column + PATCH_CELLS]
        total[covered] += drops[row, column]
        count[covered] += 1
    return np.asarray(total / count)


def mean_drops(labels: list[int], drops: list[Floats]) -> dict[str, Floats]:
    """Average the drops (6, 6) of images by the names of their classes, in the order of codes."""
    return {
        EMOTIONS[code]: np.mean(
            [one for label, one in zip(labels, drops, strict=True) if label == code], axis=0
        )
        for code in sorted(set(labels))
    }
