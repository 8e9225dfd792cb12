"""Confusion matrices as tables of the page, and the images behind each of their cells."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.results import ExperimentResults
from fer_ray.report.figures.landmark_plots import FaceSource, thumbnail
from fer_ray.report.figures.themed_picture import data_uri
from fer_ray.report.theme import SHADES
from fer_ray.vocabulary import EMOTIONS

MAX_IMAGES = 12  # per cell
MAX_FACES = 200  # per page
FACE_PX = 72


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix.

    Attributes:
        text: Share of the true class in whole per cent; empty if no image is in the cell.
        shade: Colour of the cell, from 0 to `SHADES`.
        target: Id of the row with the images of the cell; empty if there are none.
        correct: Whether the predicted class is the true class.
    """

    text: str
    shade: int
    target: str
    correct: bool


@dataclass(frozen=True)
class ShownImage:
    """An image behind a cell.

    Attributes:
        path: Path in the source.
        confidence: Probability of the predicted class.
        face_uri: The face as a data: URI; None if it is not shown.
    """

    path: str
    confidence: float
    face_uri: str | None


@dataclass(frozen=True)
class CellImages:
    """The images behind a cell, highest confidence first.

    Attributes:
        target: Id of the row on the page.
        actual: The true class.
        guess: The predicted class.
        n_predictions: Number of predictions in the cell.
        n_images: Number of distinct images in the cell.
        shown: The first images.
    """

    target: str
    actual: str
    guess: str
    n_predictions: int
    n_images: int
    shown: tuple[ShownImage, ...]


@dataclass(frozen=True)
class ConfusionTable:
    """The row-normalised confusion matrix of an experiment.

    Attributes:
        experiment: Name of the experiment.
        label: Label of its method.
        names: The classes that occur, in the order of rows and columns.
        rows: True class, its number of predictions, and its cells.
        images: The images behind the cells, wrong predictions first, most frequent cell first.
    """

    experiment: str
    label: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[Cell, ...]], ...]
    images: tuple[CellImages, ...]


@dataclass
class Faces:
    """Small faces for the page, each computed once, up to `MAX_FACES` of them.

    Args:
        frames: Rows with landmarks, by `image_id`.
        source: Source of face crops.
    """

    frames: pd.DataFrame
    source: FaceSource
    _uris: dict[str, str | None] = field(default_factory=dict)

    def uri(self, image_id: str) -> str | None:
        """The face of an image as a data: URI; None if it is not shown."""
        if not self.source.allowed or self.source.root is None:
            return None
        if image_id not in self._uris and len(self._uris) < MAX_FACES:
            rows = self.frames[self.frames["image_id"] == image_id].to_dict("records")
            face = self.source.crop({str(key): value for key, value in rows[0].items()})
            self._uris[image_id] = None if face is None else data_uri(thumbnail(face, FACE_PX))
        return self._uris.get(image_id)


def confusion_table(
    experiment: ExperimentResults, frames: pd.DataFrame, faces: Faces | None, number: int
) -> ConfusionTable:
    """Build the confusion matrix of an experiment.

    Args:
        experiment: The experiment.
        frames: Rows of images, with `image_id` and `path`.
        faces: Faces to show; None for file names only.
        number: A number that is unique on the page.
    """
    counts = experiment.summary.confusion
    present = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    images = tuple(_cell_images(experiment, frames, faces, number))
    return ConfusionTable(
        experiment.name,
        experiment.label,
        tuple(EMOTIONS[code] for code in present),
        tuple(_rows(counts, present, number)),
        images,
    )


def _rows(
    counts: NDArray[np.int64], present: NDArray[np.int64], number: int
) -> Iterator[tuple[str, int, tuple[Cell, ...]]]:
    shares = metrics.row_normalised(counts)
    for true in present:
        cells = [_cell(shares, int(true), int(guess), number) for guess in present]
        yield EMOTIONS[true], int(counts[true].sum()), tuple(cells)


def _cell(shares: NDArray[np.float64], true: int, guess: int, number: int) -> Cell:
    share = float(shares[true, guess])
    if math.isnan(share) or share == 0:
        return Cell("", 0, "", true == guess)
    text = f"{100 * share:.0f}"
    return Cell(text, round(SHADES * share), _target(number, true, guess), true == guess)


def _target(number: int, true: int, guess: int) -> str:
    return f"images-{number}-{true}-{guess}"


def _cell_images(
    experiment: ExperimentResults, frames: pd.DataFrame, faces: Faces | None, number: int
) -> Iterator[CellImages]:
    predictions = experiment.predictions
    guessed = predictions["predicted"].to_numpy(dtype=np.int64)
    chances = np.stack(predictions["probabilities"].to_list())
    table = predictions[["image_id", "label", "predicted"]].assign(
        confidence=chances[np.arange(len(guessed)), guessed]
    )
    counts = experiment.summary.confusion
    cells: list[tuple[int, int]] = [(int(a), int(b)) for a, b in np.argwhere(counts > 0)]
    cells.sort(key=lambda cell: (cell[0] == cell[1], -counts[cell], cell))
    paths = dict(zip(frames["image_id"], frames["path"], strict=True))
    for true, guess in cells:
        rows = table[(table["label"] == true) & (table["predicted"] == guess)]
        ordered = rows.sort_values(["confidence", "image_id"], ascending=[False, True])
        distinct = ordered.drop_duplicates("image_id")
        shown = distinct.head(MAX_IMAGES)
        yield CellImages(
            _target(number, true, guess),
            EMOTIONS[true],
            EMOTIONS[guess],
            len(rows),
            len(distinct),
            tuple(
                ShownImage(paths[name], float(confidence), faces.uri(name) if faces else None)
                for name, confidence in zip(shown["image_id"], shown["confidence"], strict=True)
            ),
        )


def describe_confusion(table: ConfusionTable) -> str:
    """The recall of each class and the most frequent confusion, as a text alternative."""
    recalls = [
        f"{name} {next((cell.text for cell in cells if cell.correct), '') or '0'}%"
        for name, total, cells in table.rows
        if total
    ]
    wrong = [item for item in table.images if item.actual != item.guess]
    if not wrong:
        return f"Recall by class: {', '.join(recalls)}. All predictions are correct."
    confusion = f"{wrong[0].actual} predicted as {wrong[0].guess}"
    return f"Recall by class: {', '.join(recalls)}. Most frequent confusion: {confusion}."
