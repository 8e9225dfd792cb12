from pathlib import Path

import numpy as np
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.execution.progress import silent
from fer_ray.models.penalty import PENALTIES, with_chosen_penalty
from fer_ray.pipelines.training.trials import run_trials
from fer_ray.settings.root import Execution
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.parquet import read_table

AUTO = TrialSettings(
    feature_set="landmarks+geometry", kernels=("linear",), scale="equal", C="auto",
    class_weight="balanced",
)  # fmt: skip


@pytest.fixture
def samples(drawn_frames: Path) -> Samples:
    return read_samples(drawn_frames / "frames", AUTO.feature_set)


def choose(samples: Samples, train: np.ndarray, copies: np.ndarray | None = None) -> float:
    penalty = with_chosen_penalty(AUTO, samples, train, copies).C
    assert isinstance(penalty, float)
    return penalty


def test_choice_uses_the_training_part_only(samples: Samples) -> None:
    train = np.arange(60)
    copies = samples.features[None] + 0.1
    penalty = choose(samples, train, copies)
    assert penalty * 180 in PENALTIES
    invalid = np.full_like(copies, np.nan)  # a fit to one of these would fail
    invalid[:, train] = copies[:, train]
    samples.features[60:] = np.nan
    assert choose(samples, train, invalid) == penalty


def test_noisy_labels_need_a_smaller_penalty(samples: Samples) -> None:
    train = np.arange(96)
    clean = np.eye(8)[samples.labels] @ np.random.default_rng(1).normal(size=(8, 180))
    samples.features[:] = clean + np.random.default_rng(2).normal(size=(96, 180))
    easy = choose(samples, train)
    samples.labels[::3] = np.roll(samples.labels, 7)[::3]
    assert choose(samples, train) < easy or easy * 180 == min(PENALTIES)


def test_given_penalty_is_unchanged(samples: Samples) -> None:
    given = TrialSettings(C=0.5)
    assert with_chosen_penalty(given, samples, np.arange(60), None) is given


def test_trials_choose_in_each_fold(drawn_frames: Path) -> None:
    settings = AUTO.model_copy(update={"protocol": "subject-10fold"})
    run_trials(drawn_frames, settings, Execution(executor="in-process"), silent)
    (file,) = (drawn_frames / "trials").glob("*.parquet")
    assert "C=auto" in file.name
    assert read_table(file).num_rows == 10


def test_auto_needs_equal_scale() -> None:
    with pytest.raises(ValueError, match="needs kernels=\\[linear\\] and scale=equal"):
        TrialSettings(C="auto")


def test_auto_needs_several_subjects(drawn_frames: Path) -> None:
    folds = drawn_frames / "folds.csv"
    rows = [f"I{i:03d},0,{'train' if i < 8 else 'test'}" for i in range(16)]
    folds.write_text("\n".join(["image_id,trial,part", *rows]))
    settings = AUTO.model_copy(update={"folds": str(folds)})
    with pytest.raises(UserError, match="two or more subjects"):
        run_trials(drawn_frames, settings, Execution(executor="in-process"), silent)
