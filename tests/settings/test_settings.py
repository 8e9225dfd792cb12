from pathlib import Path

import pytest
from pydantic import ValidationError

from fer_ray.errors import UserError
from fer_ray.settings.extraction import ExtractSettings, extract_fingerprint
from fer_ray.settings.feature_sets import sets_of
from fer_ray.settings.loading import load_settings
from fer_ray.settings.root import Execution, Settings

MODELS = {"landmarks": "a" * 64}


def test_defaults_are_the_reference_settings() -> None:
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


def test_overrides_take_precedence_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("trials:\n  C: 2\n  seed: 5\n")
    settings = load_settings(file, ("trials.C=0.5", "trials.kernels=[rbf]"))
    assert (settings.trials.C, settings.trials.seed, settings.trials.kernels) == (0.5, 5, ("rbf",))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials.c=1", "trials.c: this setting does not exist"),
        ("trials.C=-1", "specify a number greater than 0, or auto"),
        ("trials.C", "write it as section.name=value"),
        ("trials.C.x=1", "specify a number greater than 0, or auto"),
        ("trials.feature_set=eigen-faces", "specify one of reference"),
        ("extract.crop.cascades=[profile]", "specify one or more of default"),
        ("trials.train_share=0.9", "add up to more than 1"),
        ("trials.kernels=[]", "trials.kernels"),
        ("trials.set_weights=[1, 2]", "needs scale=equal and one weight for each of reference"),
        ("profile=[fast]", "profile: Input should be"),
    ],
)
def test_invalid_settings_are_explained(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_settings(None, (override,))
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just words"])
def test_invalid_settings_files_are_rejected(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"settings\.yaml"):
        load_settings(file, ())


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().trials = None  # type: ignore[misc, assignment]


def test_values_take_precedence_over_the_profile() -> None:
    settings = load_settings(None, ("profile=fast", "extract.landmarks.channels=3"))
    assert settings.extract.landmarks.channels == 3
    assert settings.extract.landmarks.min_face_share == 0.6


def test_fingerprint_covers_what_defines_results(tmp_path: Path) -> None:
    reference = extract_fingerprint(ExtractSettings(), MODELS)
    other_crop = load_settings(None, ("extract.crop.min_neighbors=5",)).extract
    moved_model = load_settings(None, (f"extract.landmarks.file={tmp_path}",)).extract
    assert extract_fingerprint(other_crop, MODELS) != reference
    assert extract_fingerprint(ExtractSettings(), {"landmarks": "b" * 64}) != reference
    assert extract_fingerprint(moved_model, MODELS) == reference
    assert not set(Execution.model_fields) & set(ExtractSettings.model_fields)


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    (tmp_path / "settings.yaml").write_text("extract: {landmarks: {file: models/a.dat}}")
    settings = load_settings(
        Path("settings.yaml"),
        (
            "extract.crop.file=~/face.task",
            "trials.folds=s3://bucket/folds.csv",
            "deep.backbones=[vgg16=w.h5, xception, mobilenet=imagenet]",
        ),
    )
    assert settings.extract.landmarks.file == str(tmp_path / "models" / "a.dat")
    assert settings.extract.crop.file == "/home/ada/face.task"
    assert settings.trials.folds == "s3://bucket/folds.csv"
    weights = {"vgg16": str(tmp_path / "w.h5"), "xception": None, "mobilenet": "imagenet"}
    assert settings.deep.weights() == weights


def test_recommended_recipe_uses_blendshapes_where_extracted() -> None:
    for profile, uses in (("reference", False), ("fast", False), ("mesh", True)):
        named = (f"profile={profile}", "recommended=true", "trials.feature_set=hog+geometry",
                 "trials.scale=equal", "trials.set_weights=[1, 2]")  # fmt: skip
        settings = load_settings(None, named)
        recipe, own = settings.svm_trial_settings()[:2]
        assert ("blendshapes" in sets_of(recipe.feature_set)) == uses
        assert set(sets_of(recipe.feature_set)) <= set(settings.extract.features.sets)
        assert (recipe.set_weights, own.set_weights) == ((), (1, 2))
