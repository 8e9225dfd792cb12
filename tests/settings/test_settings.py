from pathlib import Path

import pytest
from pydantic import ValidationError

from fer_ray.errors import UserError
from fer_ray.settings.extraction import ExtractSettings, extract_fingerprint
from fer_ray.settings.loading import load_settings
from fer_ray.settings.root import Execution, Settings


def test_defaults_are_the_parameters_of_the_study() -> None:
    settings = load_settings(None, ())
    crop, trials = settings.extract.crop, settings.trials
    assert crop.cascades == ("default", "alt2", "alt", "alt_tree")
    assert (crop.scale_factor, crop.min_neighbors, crop.min_size_px, crop.size_px) == (
        1.1,
        10,
        5,
        350,
    )
    assert settings.extract.landmarks.upsample == 1
    assert settings.extract.selection.neutral_seed == 123
    assert (trials.kernels, trials.n_trials, trials.gamma) == (("linear", "poly"), 10, "auto")
    assert (trials.C, trials.degree, trials.tol, trials.scale) == (1.0, 3, 1e-3, "none")


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("trials:\n  C: 2\n  seed: 5\n")
    settings = load_settings(file, ("trials.C=0.5", "trials.kernels=[rbf]"))
    assert (settings.trials.C, settings.trials.seed, settings.trials.kernels) == (0.5, 5, ("rbf",))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trials.c=1", "trials.c: there is no such setting"),
        ("trials.C=-1", "trials.C: Input should be greater than 0"),
        ("trials.C", "write it as section.name=value"),
        ("trials.C.x=1", "trials.C: Input should be"),
        ("trials.feature_set=eigenfaces", "take one of reference"),
        ("extract.crop.cascades=[profile]", "take one or more of default"),
        ("extract.features.sets=[landmarks]", "extract.features.sets lacks it"),
        ("trials.train_share=0.9", "add up to more than 1"),
        ("trials.kernels=[]", "trials.kernels"),
    ],
)
def test_an_unusable_setting_is_named_with_its_reason(override: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(None, (override,))
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just words"])
def test_a_settings_file_without_settings_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"settings\.yaml"):
        load_settings(file, ())


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().trials = None  # type: ignore[misc, assignment]


def test_the_fingerprint_follows_what_defines_a_result_and_nothing_else(tmp_path: Path) -> None:
    reference = extract_fingerprint(ExtractSettings(), "model")
    other_crop = load_settings(None, ("extract.crop.min_neighbors=5",)).extract
    same_model_elsewhere = load_settings(None, (f"extract.landmarks.model={tmp_path}",)).extract
    assert extract_fingerprint(other_crop, "model") != reference
    assert extract_fingerprint(ExtractSettings(), "other model") != reference
    assert extract_fingerprint(same_model_elsewhere, "model") == reference
    assert "workers" in Execution.model_fields  # execution is no part of ExtractSettings
    assert not set(Execution.model_fields) & set(ExtractSettings.model_fields)
