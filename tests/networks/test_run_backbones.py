"""Backbones of a run: weights that are not available, and the heads of the reference study."""

import json
from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.execution.progress import silent
from fer_ray.pipelines.report import run_report
from fer_ray.pipelines.training.run_backbones import find_unavailable_weights, run_backbones
from fer_ray.settings.loading import load_settings
from fer_ray.storage import downloads
from tests.networks.conftest import (
    RandomWeights,
    built,
    first_frames,
    write_as_published,
)


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


@pytest.mark.slow
@pytest.mark.thorough
def test_backbones_of_the_study_train_both_heads(
    run_dir: Path, corpus: Path, local_ray: int, tmp_path: Path
) -> None:
    """VGG16 with random weights in the published format; its figures mean nothing."""
    file = tmp_path / "vgg16.h5"
    write_as_published(built("vgg16"), file, trained=True)
    out = first_frames(run_dir, tmp_path / "run", 40)
    named = (f"deep.backbones=[vgg16={file}]", "trials.n_trials=1", "execution.workers=1")
    settings = load_settings(None, named)
    record = run_backbones(out, corpus, settings, silent, find_unavailable_weights(settings))
    assert record["backbones"]["vgg16"]["head"].startswith("head-default-vgg16-random")
    found = {item.summary.classifier: item for item in read_experiments(out)}
    assert found.keys() == {"head", "head-default", "svm-linear", "svm-poly"}
    assert {item.summary.feature_set for item in found.values()} == {"vgg16"}
    page = run_report(out, corpus, show_faces=False).read_text()
    for name in ("head", "head-default"):
        assert found[name].label in page
    assert found["head"].label.startswith("Network head of the reference study")
