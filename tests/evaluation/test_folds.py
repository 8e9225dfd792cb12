from pathlib import Path

import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.folds import Folds, folds_for, read_folds, write_folds
from fer_ray.evaluation.samples import Samples, of_classes, warnings_for
from fer_ray.evaluation.splits import Split
from fer_ray.settings.training import TrialSettings

IDS = [f"I{i:02d}" for i in range(20)]
SAMPLES = Samples(
    IDS, [f"S{i // 2}" for i in range(20)], (np.arange(20) % 4).astype(np.int8), np.zeros((20, 3))
)
KNOWN = {*IDS, "NO_FACE"}


@pytest.mark.parametrize("protocol", ["random", "subject-10fold"])
def test_written_folds_read_back_are_the_same_to_the_order(tmp_path: Path, protocol: str) -> None:
    settings = TrialSettings.model_validate({"protocol": protocol, "n_trials": 3})
    made = folds_for(settings, SAMPLES, KNOWN)
    write_folds(made, SAMPLES, tmp_path / "folds.csv")
    again = folds_for(TrialSettings(folds=tmp_path / "folds.csv"), SAMPLES, KNOWN)
    for one, other in zip(made.splits, again.splits, strict=True):
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.test, other.test)
    kind = "trials" if protocol == "random" else "folds"
    assert again.protocol.startswith(f"given-{kind}-")


def test_images_without_features_are_passed_over_with_a_note(tmp_path: Path) -> None:
    file = tmp_path / "folds.csv"
    write_folds(Folds("x", [Split(np.arange(10), np.arange(10, 20))]), SAMPLES, file)
    file.write_text(file.read_text() + "NO_FACE,0,test\n")
    found = read_folds(file, SAMPLES, KNOWN)
    assert len(found.splits[0].test) == 10
    assert found.notes == ["folds.csv: 1 of its images have no features or class and are left out."]


def test_a_file_of_folds_alone_tests_each_image_in_its_fold(tmp_path: Path) -> None:
    file = tmp_path / "folds.csv"
    file.write_text("image_id,fold\n" + "".join(f"{name},{i % 3}\n" for i, name in enumerate(IDS)))
    found = read_folds(file, SAMPLES, KNOWN)
    assert found.protocol.startswith("given-folds-")
    for fold, split in enumerate(found.splits):
        assert split.test.tolist() == [i for i in range(20) if i % 3 == fold]
        assert split.train.tolist() == [i for i in range(20) if i % 3 != fold]


MISTAKES = {
    "image_id,trial,part\nI00,0,train\nX1,0,test\n": "run folder lacks: X1",
    "image_id,fold,part\nI00,0,train\nI00,0,test\n": "line 3: I00 is in training and in test",
    "image_id,trial,part\nI00,0,train\nI00,0,train\n": "line 3: I00 stands twice in trial 0",
    "image_id,trial,part\nI00,0,train\nI01,0,train\n": "trial 0 has no image .* for its test",
    "image_id,trial,part\nI00,0,train\nI01,0,train\nNO_FACE,0,test\n": "for its test",
    "image_id,trial,part\nI00,0,train\nI04,0,train\nI01,0,test\n": "of a single class",
    "image_id,trial,part\nI00,0,dev\n": "line 2: part is 'dev'; take train or test",
    "image_id,trial,part\nI00,one,test\n": "line 2: trial is 'one'",
    "image_id,part\nI00,test\n": "line 2: expected the columns image_id, trial, part",
    "image_id,trial\nI00,1\n": "line 2: expected the columns image_id, trial, part",
    f"image_id,trial,part\nI00,{'9' * 5000},test\n": "line 2: trial is '99999",
    "image_id,trial,part\n": "holds no splits",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_folds_that_cannot_be_used_are_told_of(text: str, tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text(text)
    with pytest.raises(UserError, match=MISTAKES[text]):
        read_folds(tmp_path / "folds.csv", SAMPLES, KNOWN)


def test_a_file_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv cannot be read"):
        read_folds(tmp_path / "none.csv", SAMPLES, KNOWN)
    with pytest.raises(UserError, match="Cannot write"):
        write_folds(Folds("x", []), SAMPLES, tmp_path / "no" / "folds.csv")


@pytest.mark.parametrize(
    ("classes", "left"), [("8", [0, 1, 2, 3]), ("7", [1, 2, 3]), ("7n", [0, 1, 3]), ("6", [1, 3])]
)
def test_a_variant_leaves_its_classes_out(classes: str, left: list[int]) -> None:
    chosen = of_classes(SAMPLES, TrialSettings.model_validate({"classes": classes}).classes)
    assert sorted(set(chosen.labels.tolist())) == left
    assert chosen.image_ids == [name for i, name in enumerate(IDS) if i % 4 in left]
    assert len(chosen.features) == len(chosen.subjects) == len(chosen.labels)


def test_classes_left_out_on_purpose_are_not_warned_of() -> None:
    chosen = of_classes(SAMPLES, "6")
    assert warnings_for(chosen, "6") == ["No image at all: fear, happy, sadness, surprise."]
    assert TrialSettings.model_validate({"classes": 7}).classes == "7"  # as YAML reads it


def test_a_variant_without_images_is_told_of() -> None:
    neutral = Samples(IDS, [None] * 20, np.zeros(20, np.int8), np.zeros((20, 3)))
    with pytest.raises(UserError, match="take --classes 8"):
        of_classes(neutral, "7")
