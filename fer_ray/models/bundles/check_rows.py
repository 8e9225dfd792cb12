"""Inputs whose predictions a bundle must reproduce wherever it is loaded."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.models.bundles.fitting import FittedModel
from fer_ray.models.confidence.training_faces import TrainingFaces
from fer_ray.vocabulary import EMOTIONS

ROWS = 8
SEED = 68


def draw_check_rows(fitted: FittedModel, faces: TrainingFaces) -> pa.Table:
    """Draw random feature vectors near the training images, and predict them.

    They belong to no person.

    Returns:
        `features`, `probabilities` and `ood_score` of each vector.
    """
    features = fitted.samples.features
    noise = np.random.default_rng(SEED).standard_normal((ROWS, features.shape[1]))
    rows = features.mean(axis=0) + noise * features.std(axis=0)
    codes = [EMOTIONS.index(name) for name in fitted.labels]
    scores = fitted.model.scores(rows)[:, codes]
    probabilities = fitted.confidence.scaling.probabilities(scores)
    content = {
        "features": _vectors(rows),
        "probabilities": _vectors(probabilities),
        "ood_score": faces.scores(rows),
    }
    return pa.table(content)


def _vectors(values: NDArray[np.float64]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
