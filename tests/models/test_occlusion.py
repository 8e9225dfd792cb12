"""Occlusion maps, of models that are known to look at one part of the face."""

import numpy as np

from fer_ray.features.appearance import align
from fer_ray.models.occlusion import CELLS, PASSES, OcclusionMap, mean_drops, occlusion_drops
from fer_ray.vocabulary import EMOTIONS
from tests.report.conftest import mean_landmarks_xy

HAPPY = EMOTIONS.index("happy")


def test_drops_are_where_the_model_looks():
    """The model sees dark pixels of the mouth, in a turned and enlarged face."""
    turn = np.array([[0.8, -0.3], [0.3, 0.8]])
    landmarks_xy = mean_landmarks_xy() @ turn.T + [60, -10]
    crop = np.full((350, 350), 200, np.uint8)
    x, y = landmarks_xy[48:].mean(axis=0).astype(int)
    crop[y - 12 : y + 12, x - 20 : x + 20] = 0
    seen = []

    def predict(crops, points):
        seen.append(len(crops))
        probabilities = np.zeros((len(crops), len(EMOTIONS)))
        for row, one in enumerate(crops):
            probabilities[row, HAPPY] = (align(one, points)[80:] < 20).mean()
        return probabilities

    drops = occlusion_drops(predict, crop, landmarks_xy, HAPPY)
    assert seen == [PASSES]
    assert drops.shape == (CELLS, CELLS)
    row, column = np.unravel_index(drops.argmax(), drops.shape)
    assert (row, column) in {(4, 2), (4, 3)}  # the centre of the mouth is at (64, 97) of 128 px
    assert (np.abs(drops[:3]) < 1e-9).all()
    assert (np.abs(occlusion_drops(predict, crop, landmarks_xy, 0)) < 1e-9).all()


def test_drops_are_averaged_by_class_and_stored():
    cells = [np.full((CELLS, CELLS), value) for value in (0.2, 0.4, -0.1)]
    drops = mean_drops([HAPPY, HAPPY, 0], cells)
    assert list(drops) == [EMOTIONS[0], "happy"]
    assert np.allclose(drops["happy"], 0.3)
    restored = OcclusionMap.from_record(OcclusionMap("one", 3, drops).to_record())
    assert restored.n_images == 3
    assert np.allclose(restored.drops["happy"], 0.3)
