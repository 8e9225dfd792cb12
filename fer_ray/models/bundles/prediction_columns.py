"""The columns that a bundle appends to a row, from probabilities and distances."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.models.confidence.prediction_sets import in_prediction_set
from fer_ray.vocabulary import ABSTAINED

Floats = NDArray[np.float64]


def prediction_columns(
    labels: tuple[str, ...],
    probabilities: Floats,
    set_threshold: float,
    abstain_below: float | None,
) -> list[pa.Array]:
    """Build the columns `predicted`, `answer`, `probability`, `p_<label>` and `prediction_set`.

    Args:
        labels: Classes of the model.
        probabilities: Their probabilities (n, labels).
        set_threshold: Lowest probability of a class in a prediction set.
        abstain_below: The answer is `ABSTAINED` if the predicted class is less probable. None: if
            the prediction set does not consist of exactly one class.
    """
    best = probabilities.argmax(axis=1)
    highest = probabilities[np.arange(len(best)), best]
    included = in_prediction_set(probabilities, set_threshold)
    abstained = included.sum(axis=1) != 1 if abstain_below is None else highest < abstain_below
    predicted = [labels[column] for column in best]
    answers = [
        ABSTAINED if unsure else name for name, unsure in zip(predicted, abstained, strict=True)
    ]
    return [
        pa.array(predicted, pa.string()),
        pa.array(answers, pa.string()),
        pa.array(highest, pa.float64()),
        *(pa.array(column, pa.float64()) for column in probabilities.T),
        pa.array(_sets(labels, probabilities, included), pa.list_(pa.string())),
    ]


def _sets(
    labels: tuple[str, ...], probabilities: Floats, included: NDArray[np.bool_]
) -> list[list[str]]:
    """The classes of each prediction set, most probable first."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [
        [labels[column] for column in columns if chosen[column]]
        for columns, chosen in zip(order, included, strict=True)
    ]
