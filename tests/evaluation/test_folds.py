from pathlib import Path

import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.samples import Samples, sample_warnings, select_classes
from fer_ray.evaluation.protocols.folds import Folds, folds_for, read_folds, write_folds
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.settings.training import TrialSettings

IDS = [f"I{i:02d}" for i in range(20)]
SAMPLES = Samples(
    IDS, [f"S{i // 2}" for i in range(20)], (np.arange(20) % 4).astype(np.int8), np.zeros((20, 3))
)
KNOWN = {*IDS, "NO_FACE"}


@pytest.mark.parametrize("protocol", ["random", "subject-10fold"])
def test_written_folds_read_back_in_the_same_order(tmp_path: Path, protocol: str) -> None:
    settings = TrialSettings.model_validate({"protocol": protocol, "n_trials": 3})
    written = folds_for(settings, SAMPLES, KNOWN)
    write_folds(written, SAMPLES, tmp_path / "folds.csv")
    read = folds_for(TrialSettings(folds=tmp_path / "folds.csv"), SAMPLES, KNOWN)
    for before, after in zip(written.splits, read.splits, strict=True):
        np.testing.assert_array_equal(before.train, after.train)
        np.testing.assert_array_equal(before.test, after.test)
    kind = "trials" if protocol == "random" else "folds"
    assert read.protocol.startswith(f"given-{kind}-")


def test_images_without_features_are_skipped_with_a_note(tmp_path: Path) -> None:
    file = tmp_path / "folds.csv"
    write_folds(Folds("x", [Split(np.arange(10), np.arange(10, 20))]), SAMPLES, file)
    file.write_text(file.read_text() + "NO_FACE,0,test\n")
    folds = read_folds(file, SAMPLES, KNOWN)
    assert len(folds.splits[0].test) == 10
    assert folds.notes == ["folds.csv: 1 of its images have no features or class and are skipped."]


def test_folds_without_parts(tmp_path: Path) -> None:
    file = tmp_path / "folds.csv"
    file.write_text("image_id,fold\n" + "".join(f"{name},{i % 3}\n" for i, name in enumerate(IDS)))
    folds = read_folds(file, SAMPLES, KNOWN)
    assert folds.protocol.startswith("given-folds-")
    for fold, split in enumerate(folds.splits):
        assert split.test.tolist() == [i for i in range(20) if i % 3 == fold]
        assert split.train.tolist() == [i for i in range(20) if i % 3 != fold]


INVALID = {
    "image_id,trial,part\nI00,0,train\nX1,0,test\n": "not in the run folder: X1",
    "image_id,fold,part\nI00,0,train\nI00,0,test\n": "line 3: I00 is in both parts of trial 0",
    "image_id,trial,part\nI00,0,train\nI00,0,train\n": "line 3: I00 is listed twice in trial 0",
    "image_id,trial,part\nI00,0,train\nI01,0,train\n": "trial 0 has no image .* in its test part",
    "image_id,trial,part\nI00,0,train\nI01,0,train\nNO_FACE,0,test\n": "in its test part",
    "image_id,trial,part\nI00,0,train\nI04,0,train\nI01,0,test\n": "fewer than two classes",
    "image_id,trial,part\nI00,0,dev\n": "line 2: part is 'dev'; use train or test",
    "image_id,trial,part\nI00,one,test\n": "line 2: trial is 'one'",
    "image_id,part\nI00,test\n": "line 2: expected the columns image_id, trial, part",
    "image_id,trial\nI00,1\n": "line 2: expected the columns image_id, trial, part",
    f"image_id,trial,part\nI00,{'9' * 5000},test\n": "line 2: trial is '99999",
    "image_id,trial,part\n": "contains no splits",
}


@pytest.mark.parametrize("text", INVALID)
def test_invalid_folds(text: str, tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text(text)
    with pytest.raises(UserError, match=INVALID[text]):
        read_folds(tmp_path / "folds.csv", SAMPLES, KNOWN)


def test_unreadable_and_unwritable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read the folds file .*none\.csv"):
        read_folds(tmp_path / "none.csv", SAMPLES, KNOWN)
    with pytest.raises(UserError, match="Cannot write"):
        write_folds(Folds("x", []), SAMPLES, tmp_path / "no" / "folds.csv")


@pytest.mark.parametrize(
    ("classes", "remaining"),
    [("8", [0, 1, 2, 3]), ("7", [1, 2, 3]), ("7n", [0, 1, 3]), ("6", [1, 3])],
)
def test_classes_of_a_variant(classes: str, remaining: list[int]) -> None:
    selected = select_classes(SAMPLES, TrialSettings.model_validate({"classes": classes}).classes)
    assert sorted(set(selected.labels.tolist())) == remaining
    assert selected.image_ids == [name for i, name in enumerate(IDS) if i % 4 in remaining]
    assert len(selected.features) == len(selected.subjects) == len(selected.labels)


def test_no_warning_of_excluded_classes() -> None:
    selected = select_classes(SAMPLES, "6")
    assert sample_warnings(selected, "6") == ["No images: fear, happy, sadness, surprise."]
    assert TrialSettings.model_validate({"classes": 7}).classes == "7"  # as YAML reads it


def test_variant_without_images() -> None:
    neutral = Samples(IDS, [None] * 20, np.zeros(20, np.int8), np.zeros((20, 3)))
    with pytest.raises(UserError, match="Use --classes 8"):
        select_classes(neutral, "7")
