"""The misclassified images of an experiment: which are listed, and which have a card."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fer_ray.evaluation.experiments.experiment_labels import describe_splits
from fer_ray.evaluation.experiments.results import ExperimentResults
from fer_ray.evaluation.experiments.summary import is_folds
from fer_ray.report.figures.landmark_plots import (
    FaceSource,
    Row,
    landmarks_xy,
    stroke_points,
    thumbnail,
)
from fer_ray.report.figures.themed_picture import data_uri
from fer_ray.vocabulary import EMOTIONS

MAX_LISTED = 50
MAX_CARDS = 12
THUMBNAIL_PX = 160


@dataclass(frozen=True)
class ImageCard:
    """A misclassified image in the gallery.

    Attributes:
        prediction: The row of the prediction.
        alt: Text alternative.
        face_uri: The face as a data: URI; None if it is not shown.
        strokes: SVG points of the landmarks; empty if the face is shown.
        note: Why the face is not shown, if that needs an explanation.
    """

    prediction: Row
    alt: str
    face_uri: str | None
    strokes: tuple[str, ...]
    note: str | None


@dataclass(frozen=True)
class Misclassified:
    """The misclassified images of an experiment, highest confidence first.

    Attributes:
        scope: The trials that were considered.
        n_predictions: Number of predictions in these trials.
        n_wrong: Number of wrong ones.
        listed: The first rows.
        cards: Cards of the first images.
        full_list: File with all predictions, relative to the run folder.
    """

    scope: str
    n_predictions: int
    n_wrong: int
    listed: tuple[Row, ...]
    cards: tuple[ImageCard, ...]
    full_list: str

    @property
    def has_improbable_predictions(self) -> bool:
        """Whether a listed prediction is not the class with the highest probability."""
        return any(max(row["probabilities"]) > row["confidence"] for row in self.listed)

    @property
    def worst(self) -> Row | None:
        """The wrong prediction with the highest confidence."""
        return self.listed[0] if self.listed else None


def find_misclassified(
    experiment: ExperimentResults, frames: pd.DataFrame, faces: FaceSource, skip_cards: int = 0
) -> Misclassified:
    """Find the misclassified images of the last random trial, or of all folds.

    Args:
        experiment: The experiment.
        frames: Rows with landmarks.
        faces: Source of face crops.
        skip_cards: Number of images, highest confidence first, that have no card.
    """
    predictions, scope = _select_predictions(experiment)
    rows = tuple(_wrong_rows(predictions, frames))
    return Misclassified(
        scope=scope,
        n_predictions=len(predictions),
        n_wrong=len(rows),
        listed=rows[:MAX_LISTED],
        cards=tuple(image_card(row, faces) for row in rows[skip_cards : skip_cards + MAX_CARDS]),
        full_list=str(Path("predictions") / f"{experiment.summary.experiment}.parquet"),
    )


def _select_predictions(experiment: ExperimentResults) -> tuple[pd.DataFrame, str]:
    summary, predictions = experiment.summary, experiment.predictions
    if is_folds(summary.protocol):
        return predictions, f"all {summary.n_trials} folds, each image tested once"
    last = int(experiment.trials["trial"].max())
    selected = predictions[predictions["trial"] == last]
    return selected, f"the last of {describe_splits(summary)} (trial {last})"


def _wrong_rows(predictions: pd.DataFrame, frames: pd.DataFrame) -> list[Row]:
    return predicted_rows(predictions[predictions["label"] != predictions["predicted"]], frames)


def predicted_rows(predictions: pd.DataFrame, frames: pd.DataFrame) -> list[Row]:
    """Predictions as rows with all that a card needs, the highest confidence first.

    Args:
        predictions: `schemas.PREDICTIONS_SCHEMA`.
        frames: Rows with landmarks.
    """
    rows = predictions.copy()
    rows["actual"] = [EMOTIONS[code] for code in rows["label"]]
    rows["guess"] = [EMOTIONS[code] for code in rows["predicted"]]
    codes = zip(rows["probabilities"], rows["label"], rows["predicted"], strict=True)
    pairs = [(float(values[guess]), float(values[label])) for values, label, guess in codes]
    rows["confidence"] = [confidence for confidence, _ in pairs]
    rows["p_actual"] = [p_actual for _, p_actual in pairs]
    columns = ["image_id", "path", "sha256", "box_xywh", "crop_angle", "landmarks_xy"]
    ordered = rows.merge(frames[columns], on="image_id").sort_values(
        ["confidence", "image_id"], ascending=[False, True]
    )
    return [{str(key): value for key, value in row.items()} for row in ordered.to_dict("records")]


def image_card(row: Row, faces: FaceSource) -> ImageCard:
    """The card of a row of `predicted_rows`."""
    face = faces.crop(row)
    description = f"{row['image_id']}: {row['actual']}, predicted as {row['guess']}"
    if face is not None:
        uri = data_uri(thumbnail(face, THUMBNAIL_PX))
        return ImageCard(row, f"Face of {description}.", uri, (), None)
    note = "The source image no longer exists." if faces.allowed else None
    strokes = tuple(stroke_points(landmarks_xy(row)))
    return ImageCard(row, f"Landmarks of {description}.", None, strokes, note)
