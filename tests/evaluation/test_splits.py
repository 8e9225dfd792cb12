import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.inner_splits import inner_folds, require_subjects
from fer_ray.evaluation.protocols.splits import (
    Split,
    make_splits,
    random_split,
    subject_folds,
    subject_overlap,
    untrained_note,
)
from fer_ray.execution.progress import silent
from fer_ray.pipelines.training.heads import run_heads
from fer_ray.pipelines.training.search import run_search
from fer_ray.pipelines.training.search_heads import run_head_search
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.training import SearchSettings, TrialSettings

LABELS = np.repeat(np.arange(8), [118, 45, 18, 59, 25, 69, 28, 83]).astype(np.int8)  # CK+'s classes
SUBJECTS: list[str | None] = [f"S{n % 37:03d}" for n in range(len(LABELS))]


def test_sizes_of_a_random_split() -> None:
    split = random_split(LABELS, 0.8, 0.2, seed=0, trial=3)
    tested = np.bincount(LABELS[split.test], minlength=8)
    trained = np.bincount(LABELS[split.train], minlength=8)
    assert tested.tolist() == [
        23,
        9,
        3,
        11,
        5,
        13,
        5,
        16,
    ]  # as in the last trial of the reference study
    assert trained.tolist() == [int(0.8 * n) for n in np.bincount(LABELS)]
    assert not set(split.train) & set(split.test)


def test_random_splits_depend_on_seed_and_trial() -> None:
    first, second = (random_split(LABELS, 0.8, 0.2, 0, 1) for _ in range(2))
    np.testing.assert_array_equal(first.test, second.test)
    for seed, trial in ((0, 2), (1, 1)):
        assert not np.array_equal(first.test, random_split(LABELS, 0.8, 0.2, seed, trial).test)


def test_subject_folds() -> None:
    subjects = [str(name) for name in SUBJECTS]
    names = sorted(set(subjects))
    folds = subject_folds(subjects, 10)
    assert len(folds) == 10
    for number, fold in enumerate(folds):
        assert {subjects[i] for i in fold.test} == set(names[number::10])
        assert not {subjects[i] for i in fold.test} & {subjects[i] for i in fold.train}
    np.testing.assert_array_equal(
        np.sort(np.concatenate([fold.test for fold in folds])), np.arange(len(LABELS))
    )


def test_leave_one_subject_out() -> None:
    splits = make_splits(TrialSettings(protocol="loso"), LABELS, SUBJECTS)
    assert [len({SUBJECTS[i] for i in split.test}) for split in splits] == [1] * 37


def test_subject_overlap() -> None:
    subjects = ["a", "a", "b", "c", None]
    split = Split(np.array([0, 2]), np.array([1, 3, 4]))
    assert subject_overlap(subjects, split) == 0.5
    assert subject_overlap([None] * 5, split) is None


@pytest.mark.parametrize(
    ("labels", "subjects", "protocol", "message"),
    [
        ([1] * 10, ["a", "b"] * 5, "random", "two or more classes"),
        ([], [], "random", "two or more classes"),
        ([0, 1, 2, 3], ["a"] * 4, "random", "Too few labelled images"),
        ([0, 1] * 5, ["a"] * 10, "loso", "two or more subjects"),
        ([0, 1] * 5, ["a", None] * 5, "subject-10fold", "5 have none"),
        ([0, 0, 1, 2, 3], list("abcde"), "loso", "fewer than two classes"),
        ([0] * 5 + [1] * 5, ["a"] * 5 + ["b"] * 5, "loso", "fewer than two classes"),
    ],
)
def test_data_that_cannot_be_split(
    labels: list[int], subjects: list[str | None], protocol: str, message: str
) -> None:
    settings = TrialSettings.model_validate({"protocol": protocol})
    with pytest.raises(UserError, match=message):
        make_splits(settings, np.array(labels, dtype=np.int8), subjects)


def test_selection_needs_two_training_subjects(drawn_frames: Path) -> None:
    ids = [f"I{number:03d}" for number in range(16)]  # two subjects, tested in turn
    rows = [f"{name},{trial},{'test' if number // 8 == trial else 'train'}"
            for trial in range(2) for number, name in enumerate(ids)]  # fmt: skip
    file = drawn_frames / "folds.csv"
    file.write_text("\n".join(["image_id,trial,part", *rows]))
    splitting, run = TrialSettings(folds=file), (Execution(), silent)
    search = SearchSettings(feature_sets=("geometry",))
    with pytest.raises(UserError, match="two or more subjects"):
        run_search(drawn_frames, search, splitting, *run)
    with pytest.raises(UserError, match="two or more subjects"):
        run_heads(drawn_frames, "reference", "geometry", splitting, *run)
    with pytest.raises(UserError, match="two or more subjects"):
        run_head_search(drawn_frames, "geometry", Settings(trials=splitting), silent)


def test_images_of_unknown_subjects() -> None:
    split = Split(np.array([0, 1]), np.array([2]))
    for subjects in ([None, None, None], ["A", None, "A"]):
        samples = Samples(list("abc"), subjects, np.zeros(3, np.int8), np.zeros((3, 1)))
        require_subjects(samples, [split])


def test_small_classes_have_fewer_inner_folds() -> None:
    labels = np.array([1, 1, 1, 5, 5, 7, 7], np.int8)
    ids = [f"{row}.png" for row in range(len(labels))]
    samples = Samples(ids, [None] * len(ids), labels, np.zeros((len(ids), 2)))
    folds = inner_folds(samples, np.arange(len(labels)), 5, seed=0)
    assert len(folds) == 3
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(labels)))


def test_inner_folds_of_threads_leave_the_filters_of_warnings() -> None:
    labels = np.tile(np.array([1, 5, 7], np.int8), 40)
    ids = [f"{row}.png" for row in range(len(labels))]
    samples = Samples(ids, [None] * len(ids), labels, np.zeros((len(ids), 2)))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: inner_folds(samples, np.arange(len(ids)), 5, seed), range(60)))
    assert list(warnings.filters) == before


def test_tested_classes_without_training_images_are_named() -> None:
    labels = np.array([1, 1, 5, 5, 7, 7], np.int8)
    split = Split(np.array([0, 1, 2, 3, 4]), np.array([5]))
    note = untrained_note([split, split], labels)
    assert note is not None
    assert "surprise (2)" in note
    assert "anger" not in note
    assert untrained_note([Split(np.arange(6), np.arange(6))], labels) is None
