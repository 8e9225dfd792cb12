import numpy as np
import pytest

from fer_ray.evaluation.temperature import TemperatureScaling
from fer_ray.models.confidence.prediction_sets import in_prediction_set, set_threshold


@pytest.mark.parametrize("images", [9, 50, 300])
def test_sets_contain_the_true_class(images: int) -> None:
    random = np.random.default_rng(images)
    covered = []
    for _ in range(200):
        scores = random.normal(size=(images + 50, 4))
        labels = random.integers(0, 4, images + 50)
        scores[np.arange(len(labels)), labels] += 1.5
        # Overconfident, which must not matter.
        probabilities = TemperatureScaling(3.0, 0.0).probabilities(scores)
        p_true = probabilities[np.arange(len(labels)), labels]
        threshold = set_threshold(p_true[:images])
        covered.append(
            in_prediction_set(probabilities, threshold)[images:][
                np.arange(50), labels[images:]
            ].mean()
        )
    assert 0.89 <= np.mean(covered) <= 0.9 + 1.1 / (images + 1) + 0.01


def test_too_few_images_give_full_sets() -> None:
    assert set_threshold(np.full(8, 0.9)) == 0
    assert set_threshold(np.linspace(0.1, 0.9, 9)) == 0.1


def test_softmax_does_not_depend_on_other_rows() -> None:
    scores = np.random.default_rng(1).normal(size=(301, 7))[:, ::-1] * 30
    scores[:, 2] = -np.inf
    scaling = TemperatureScaling(0.7, 0.1)
    alone = np.vstack([scaling.probabilities(row[None]) for row in scores])
    assert np.array_equal(scaling.probabilities(scores), alone)
    assert not alone[:, 2].any()
    np.testing.assert_allclose(alone.sum(axis=1), 1)
