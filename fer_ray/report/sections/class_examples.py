"""A typical and a doubtful image of each class."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fer_ray.evaluation.experiments.results import ExperimentResults
from fer_ray.report.sections.confusion_tables import Faces, ShownImage
from fer_ray.vocabulary import EMOTIONS


@dataclass(frozen=True)
class ClassExamples:
    """A typical and a doubtful image of a class.

    Attributes:
        name: The class.
        typical: The correctly predicted image with the highest probability of the class; None if no
            image is predicted correctly.
        doubtful: Of the other images, the one with the smallest distance between its two highest
            probabilities; None if there is no other image.
        rivals: The two most probable classes of the doubtful image.
    """

    name: str
    typical: ShownImage | None
    doubtful: ShownImage | None
    rivals: tuple[str, ...]


def class_examples(
    item: ExperimentResults, frames: pd.DataFrame, faces: Faces
) -> list[ClassExamples]:
    """The most typical and the most doubtful test image of each class, over all trials.

    Args:
        item: An experiment; the probabilities of an image are averaged over its trials.
        frames: Rows of images, with `image_id` and `path`.
        faces: Faces to show.
    """
    table = item.predictions
    chances = pd.DataFrame(np.stack(table["probabilities"].to_list()), index=table["image_id"])
    means = chances.groupby(level=0).mean()
    labels = table.groupby("image_id")["label"].first()
    correct = table.loc[table["label"] == table["predicted"], "image_id"].unique()
    paths = dict(zip(frames["image_id"], frames["path"], strict=True))
    examples = []
    for code in sorted(labels.unique()):
        own = means[labels == code]
        right = own.loc[own.index.isin(correct), code]
        typical, doubtful, rivals = None, None, tuple[str, ...]()
        if not right.empty:
            typical = _shown(right.idxmax(), right.max(), paths, faces)
            own = own.drop(right.idxmax())
        if not own.empty:
            ordered = np.sort(own.to_numpy(), axis=1)
            image_id = own.index[int(np.argmin(ordered[:, -1] - ordered[:, -2]))]
            chances_of = own.loc[image_id].sort_values(ascending=False)
            doubtful = _shown(image_id, chances_of.iloc[0], paths, faces)
            rivals = tuple(EMOTIONS[int(name)] for name in chances_of.index[:2])
        examples.append(ClassExamples(EMOTIONS[code], typical, doubtful, rivals))
    return examples


def _shown(image_id: str, chance: float, paths: dict[str, str], faces: Faces) -> ShownImage:
    return ShownImage(paths[image_id], float(chance), faces.uri(image_id))
