"""The wrong answers: which are listed, which are shown, and how."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fer_ray.evaluation.results import ExperimentResults
from fer_ray.evaluation.split_wording import split
from fer_ray.evaluation.summary import is_folds
from fer_ray.report.figures.faces import FaceSource, Row, landmarks_xy, stroke_points, thumbnail
from fer_ray.report.figures.picture import data_uri
from fer_ray.vocabulary import EMOTIONS

MAX_LISTED = 50
MAX_SHOWN = 12
THUMBNAIL_PX = 160


@dataclass(frozen=True)
class Card:
    """One wrongly answered image in the gallery: its face, or else its landmarks."""

    answer: Row
    alt: str
    face_uri: str | None
    strokes: tuple[str, ...]  # SVG points of the landmarks, empty where a face is shown
    note: str | None


@dataclass(frozen=True)
class Gallery:
    """The wrong answers of one experiment, the most confident first."""

    scope: str  # which answers were looked at
    n_answers: int
    n_wrong: int
    listed: tuple[Row, ...]
    cards: tuple[Card, ...]
    full_list: str  # where all of them are, within the run folder

    @property
    def beside_the_likeliest(self) -> bool:
        """Whether some listed answer is not the class with the highest probability."""
        return any(max(row["probabilities"]) > row["confidence"] for row in self.listed)

    @property
    def worst(self) -> Row | None:
        """The wrong answer that was given with the most confidence."""
        return self.listed[0] if self.listed else None


def make_gallery(
    experiment: ExperimentResults, frames: pd.DataFrame, faces: FaceSource, beside: int = 0
) -> Gallery:
    """The wrong answers of `experiment`: of its last random trial, or of all its folds.

    Args:
        experiment: Whose answers.
        frames: Rows with landmarks.
        faces: Where faces may come from.
        beside: How many of the most confident ones are shown elsewhere, and so have no card.
    """
    answers, scope = _answers_in_scope(experiment)
    wrong = _wrong(answers, frames)
    rows = tuple({str(key): value for key, value in row.items()} for row in wrong)
    return Gallery(
        scope=scope,
        n_answers=len(answers),
        n_wrong=len(rows),
        listed=rows[:MAX_LISTED],
        cards=tuple(_card(row, faces) for row in rows[beside : beside + MAX_SHOWN]),
        full_list=str(Path("predictions") / f"{experiment.summary.experiment}.parquet"),
    )


def _answers_in_scope(experiment: ExperimentResults) -> tuple[pd.DataFrame, str]:
    summary, predictions = experiment.summary, experiment.predictions
    if is_folds(summary.protocol):
        return predictions, f"all {summary.n_trials} folds, each image tested once"
    last = int(experiment.trials["trial"].max())
    of_last = predictions[predictions["trial"] == last]
    return of_last, f"the last of {split(summary)} (trial {last})"


def _wrong(answers: pd.DataFrame, frames: pd.DataFrame) -> list[Row]:
    wrong = answers[answers["label"] != answers["predicted"]].copy()
    wrong["actual"] = [EMOTIONS[code] for code in wrong["label"]]
    wrong["guess"] = [EMOTIONS[code] for code in wrong["predicted"]]
    chances = zip(wrong["probabilities"], wrong["label"], wrong["predicted"], strict=True)
    pairs = [(float(values[guess]), float(values[label])) for values, label, guess in chances]
    wrong["confidence"] = [confidence for confidence, _ in pairs]
    wrong["p_actual"] = [p_actual for _, p_actual in pairs]
    columns = ["image_id", "path", "sha256", "box_xywh", "landmarks_xy"]
    ordered = wrong.merge(frames[columns], on="image_id").sort_values(
        ["confidence", "image_id"], ascending=[False, True]
    )
    return [dict(row) for row in ordered.to_dict("records")]  # type: ignore[arg-type]


def _card(row: Row, faces: FaceSource) -> Card:
    face = faces.crop(row)
    subject = f"{row['image_id']}: {row['actual']}, taken for {row['guess']}"
    if face is not None:
        uri = data_uri(thumbnail(face, THUMBNAIL_PX))
        return Card(row, f"Face of {subject}.", uri, (), None)
    note = "The source image is not there any more." if faces.allowed else None
    strokes = tuple(stroke_points(landmarks_xy(row)))
    return Card(row, f"Landmarks of {subject}.", None, strokes, note)
