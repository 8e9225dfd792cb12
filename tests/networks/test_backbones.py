from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_ray.networks.bottleneck.inference import is_slow_in_bfloat16
from fer_ray.networks.keras_backend import load_keras
from fer_ray.networks.network import Backbone
from fer_ray.networks.weights import find_weights, keras_named_link
from fer_ray.settings.backbones import BACKBONES
from fer_ray.vocabulary import Origin
from tests.networks.conftest import RandomWeights, built, write_as_published

VARIANTS = ("vgg16_raw", "vgg16_bf16", "xception_bf16")
KERAS = [name for name, spec in BACKBONES.items() if spec.application and name not in VARIANTS]
COMPARED = ("xception", "efficientnetv2b0", "convnext_tiny")  # with Keras's own features


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KERAS if name not in COMPARED])
def test_table_matches_keras_applications(name: str) -> None:
    require_table_entry(name, built(name))


def require_table_entry(name: str, model: object) -> None:
    """Check the entry of a backbone against its Keras application."""
    spec = BACKBONES[name]
    assert model.count_params() == spec.parameters  # type: ignore[attr-defined]
    assert model.output_shape[1:] == (*(spec.map_shape or ()), spec.width)  # type: ignore[attr-defined]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"), [("vgg16", (10, 10, 512)), ("xception", (11, 11, 2048))]
)
def test_means_of_maps_are_pooled_features(
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        COMPARED[0],
        *(pytest.param(name, marks=pytest.mark.thorough) for name in COMPARED[1:]),
    ],
)
def test_features_match_keras_applications(name: str, crops: np.ndarray, tmp_path: Path) -> None:
    spec, model = BACKBONES[name], built(name)
    require_table_entry(name, model)
    write_as_published(model, tmp_path / "own.h5", trained=True)
    with keras_named_link(tmp_path / "own.h5") as link:
        model.load_weights(link)  # type: ignore[attr-defined]
    side, method = (spec.input_px, spec.input_px), cv2.INTER_AREA
    small = [cv2.resize(crop, side, interpolation=method) for crop in crops[:2]]
    pixels: Any = np.repeat(np.stack(small)[..., None], 3, axis=3).astype(np.float32)
    if spec.module:
        pixels = getattr(load_keras().applications, spec.module).preprocess_input(pixels)
    expected = model.predict(pixels, verbose=0).mean(axis=(1, 2))  # type: ignore[attr-defined]
    found = Backbone(name, tmp_path / "own.h5", threads=1)(crops[:2])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
    assert np.abs(expected[0] - expected[1]).max() > 1e-4 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.thorough
def test_bfloat16_is_close_to_float32(random_weights: RandomWeights, crops: np.ndarray) -> None:
    file = random_weights("xception")
    full = Backbone("xception", file, threads=1)(crops)
    half = Backbone("xception_bf16", file, threads=1, batch_images=5)
    found = half(crops)
    error = np.linalg.norm(found - full) / np.linalg.norm(full)
    assert 1e-4 < error < 0.02  # 8 bits of mantissa; float32 differs by no more than 1e-6
    half.batch_images = 2
    np.testing.assert_allclose(half(crops), found, rtol=1e-4, atol=1e-6)
    assert load_keras().config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("content", "slow"),
    [
        ("", False),  # unknown flags
        ("processor: 0\nflags\t\t: fpu avx2 avx512f\n", True),
        ("processor: 0\nflags\t\t: fpu avx512f avx512_bf16\n", False),
        ("flags : amx_bf16 amx_tile\n", False),
    ],
)
def test_cpus_without_bfloat16_are_detected(content: str, slow: bool, tmp_path: Path) -> None:
    assert not is_slow_in_bfloat16(tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(content)
    assert is_slow_in_bfloat16(tmp_path / "cpuinfo") == slow


def test_vgg16_raw_has_no_preprocessing() -> None:
    raw, spec = BACKBONES["vgg16_raw"], BACKBONES["vgg16"]
    assert (raw.module, raw.file_hash, raw.map_shape) == ("", spec.file_hash, spec.map_shape)
