"""The backbones of a whole run: what is told where weights are not to be had."""

import json
from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.execution.progress import silent
from fer_ray.pipelines.run_backbones import look_for_weights, run_backbones
from fer_ray.settings.loading import load_settings
from tests.networks.conftest import RandomWeights


def test_untrained_weights_are_never_trained_on(
    random_weights: RandomWeights, drawn_frames: Path
) -> None:
    named = f"deep.backbones=[mobilenet={random_weights('mobilenet')}]"
    settings = load_settings(None, (named,))
    absent = look_for_weights(settings)
    assert "never trained" in absent["mobilenet"]
    run_backbones(drawn_frames, drawn_frames, settings, silent, absent)
    kept = json.loads((drawn_frames / "deep.json").read_text())
    assert kept == {"backbones": {}, "weights_not_available": absent}
    assert not (drawn_frames / "bottleneck").exists()


def test_a_run_without_network_goes_on_without_imagenet_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    absent = look_for_weights(load_settings(None, ("deep.backbones=[vgg16]",)))
    assert "cannot be fetched" in absent["vgg16"]


@pytest.mark.parametrize("named", ["resnet", "vgg16, vgg16", "vgg16=a.h5, vgg16=b.h5"])
def test_backbones_are_known_and_named_once(named: str) -> None:
    with pytest.raises(UserError, match="each once"):
        load_settings(None, (f"deep.backbones=[{named}]",))


def test_a_file_that_is_not_there_ends_the_run_before_it_begins() -> None:
    settings = load_settings(None, ("deep.backbones=[vgg16=none.h5]",))
    with pytest.raises(UserError, match="There is no weights file"):
        look_for_weights(settings)
