import numpy as np
import pytest

from fer_ray.deep.backbones import BACKBONES
from fer_ray.deep.network import Backbone
from fer_ray.deep.weights import Origin, find_weights
from tests.deep.conftest import RandomWeights, built

KERAS = [name for name, spec in BACKBONES.items() if spec.application and name != "vgg16_raw"]


@pytest.mark.slow
@pytest.mark.parametrize("name", KERAS)
def test_the_table_tells_the_truth_about_each_keras_application(name: str) -> None:
    spec, model = BACKBONES[name], built(name)
    assert model.count_params() == spec.parameters  # type: ignore[attr-defined]
    assert model.output_shape[1:] == (*(spec.map_shape or ()), spec.width)  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"), [("vgg16", (10, 10, 512)), ("xception", (11, 11, 2048))]
)
def test_the_studys_networks_give_maps_whose_means_are_the_pooled_features(
    name: str, shape: tuple[int, ...], random_weights: RandomWeights, crops: np.ndarray
) -> None:
    file = random_weights(name)
    assert find_weights(BACKBONES[name], str(file)).origin == Origin.UNTRAINED
    pooled = Backbone(name, file, threads=1)(crops[:2])
    maps = Backbone(name, file, maps=True, threads=1)(crops[:2])
    assert maps.dtype == pooled.dtype == np.float32
    means = maps.reshape(2, *shape).mean(axis=(1, 2))
    np.testing.assert_allclose(means, pooled, rtol=1e-4, atol=1e-5 * np.abs(pooled).max())
    assert np.abs(pooled[0] - pooled[1]).max() > 0


def test_raw_vgg16_is_vgg16_without_its_preprocessing() -> None:
    raw, spec = BACKBONES["vgg16_raw"], BACKBONES["vgg16"]
    assert (raw.module, raw.file_hash, raw.map_shape) == ("", spec.file_hash, spec.map_shape)
