"""Temperature scaling: the lowest log loss, the same answers, rows independent of each other."""

import numpy as np

from fer_ray.evaluation import metrics
from fer_ray.evaluation.temperature import TemperatureScaling, fit_temperature_scaling
from fer_ray.vocabulary import EMOTIONS

CLASSES = [0, 2, 5]


def draw(scaling: TemperatureScaling, n: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n, 8) of three classes, and labels whose probabilities are those of `scaling`."""
    random = np.random.default_rng(5)
    scores = np.full((n, len(EMOTIONS)), -np.inf)
    scores[:, CLASSES] = random.normal(scale=9, size=(n, len(CLASSES)))
    cumulated = scaling.probabilities(scores).cumsum(axis=1)
    labels = (random.random((n, 1)) > cumulated).sum(axis=1).astype(np.int8)
    return labels, scores


def test_parameters_are_recovered() -> None:
    labels, scores = draw(TemperatureScaling(0.4, 0.2))
    fitted = fit_temperature_scaling(labels, scores)
    assert 0.36 < fitted.inverse_temperature < 0.44
    assert 0.17 < fitted.uniform_share < 0.23


def test_log_loss_is_minimal() -> None:
    labels, scores = draw(TemperatureScaling(0.4, 0.2), n=900)
    fitted = fit_temperature_scaling(labels, scores)
    factor, share = fitted.inverse_temperature, fitted.uniform_share

    def loss(*parameters: float) -> float:
        return metrics.log_loss(labels, TemperatureScaling(*parameters).probabilities(scores))

    others = [(1.0, 0.0), (0.9 * factor, share), (1.1 * factor, share),
              (factor, 0.9 * share), (factor, 1.1 * share)]  # fmt: skip
    assert all(loss(factor, share) < loss(*other) for other in others)


def test_most_probable_class_is_that_of_the_scores() -> None:
    labels, scores = draw(TemperatureScaling(0.4, 0.2), n=300)
    probabilities = fit_temperature_scaling(labels, scores).probabilities(scores)
    assert np.array_equal(probabilities.argmax(axis=1), scores.argmax(axis=1))
    assert not np.delete(probabilities, CLASSES, axis=1).any()


def test_unscored_and_unknown_images_do_not_matter() -> None:
    labels, scores = draw(TemperatureScaling(0.4, 0.2), n=300)
    fitted = fit_temperature_scaling(labels, scores)
    unscored = np.full((2, len(EMOTIONS)), -np.inf)
    more = np.concatenate([labels, np.array([0, 7], np.int8)]), np.concatenate([scores, unscored])
    assert fit_temperature_scaling(*more) == fitted
