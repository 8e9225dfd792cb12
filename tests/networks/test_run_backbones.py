"""Backbones of a run whose weights are not available."""

import json
from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.execution.progress import silent
from fer_ray.pipelines.training.run_backbones import find_unavailable_weights, run_backbones
from fer_ray.settings.loading import load_settings
from fer_ray.storage import downloads
from tests.networks.conftest import RandomWeights


def test_untrained_weights_are_skipped(random_weights: RandomWeights, drawn_frames: Path) -> None:
    named = f"deep.backbones=[mobilenet={random_weights('mobilenet')}]"
    settings = load_settings(None, (named,))
    unavailable = find_unavailable_weights(settings)
    assert "never trained" in unavailable["mobilenet"]
    run_backbones(drawn_frames, drawn_frames, settings, silent, unavailable)
    kept = json.loads((drawn_frames / "deep.json").read_text())
    assert kept == {"backbones": {}, "weights_not_available": unavailable}
    assert not (drawn_frames / "bottleneck").exists()


def test_unreachable_weights_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(downloads, "RETRIES", 0)
    unavailable = find_unavailable_weights(load_settings(None, ("deep.backbones=[vgg16]",)))
    assert "Cannot download" in unavailable["vgg16"]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("resnet", "resnet is not a backbone: specify one of vgg16"),
        ("vgg16, vgg16", "a backbone is specified twice"),
        ("vgg16=a.h5, vgg16=b.h5", "a backbone is specified twice"),
    ],
)
def test_unknown_or_repeated_backbones_are_refused(named: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_settings(None, (f"deep.backbones=[{named}]",))


def test_missing_weights_file_is_refused_first() -> None:
    settings = load_settings(None, ("deep.backbones=[vgg16=none.h5]",))
    with pytest.raises(UserError, match=r"none\.h5 does not exist"):
        find_unavailable_weights(settings)
