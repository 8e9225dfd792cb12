"""Storing trials one by one, without Ray."""

from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment import plan_experiments
from fer_ray.evaluation.experiments.trial_store import TrialStore
from fer_ray.pipelines.training.experiments import prepare_trials
from fer_ray.pipelines.training.trials import SvmTrials
from fer_ray.settings.training import TrialSettings


@pytest.mark.parametrize("others", [(), ("of-a-head-search",)])
def test_files_of_other_jobs_remain(drawn_frames: Path, others: tuple[str, ...]) -> None:
    settings = TrialSettings(kernels=("linear",), n_trials=2)
    ready = prepare_trials(drawn_frames, settings, settings.feature_set)
    [experiment] = plan_experiments(settings, ready.folds, ready.frames_key)
    work = SvmTrials([experiment], ready.samples, None, drawn_frames)
    for other in others:
        (drawn_frames / "trials.partial" / other).mkdir(parents=True)
        (drawn_frames / "trials.partial" / other / "search-000000.json").write_text("{}")
    for trial in range(2):
        work((0, trial))
    store = TrialStore(drawn_frames, experiment)
    store.assemble()
    assert store.finished()
    remaining = (drawn_frames / "trials.partial").glob("*")
    assert [folder.name for folder in remaining] == list(others)
    assert (drawn_frames / "trials.partial").exists() is bool(others)


def test_missing_trials_are_reported(drawn_frames: Path) -> None:
    settings = TrialSettings(kernels=("linear",), n_trials=3)
    ready = prepare_trials(drawn_frames, settings, settings.feature_set)
    [experiment] = plan_experiments(settings, ready.folds, ready.frames_key)
    work = SvmTrials([experiment], ready.samples, None, drawn_frames)
    for trial in range(2):
        work((0, trial))
    store = TrialStore(drawn_frames, experiment)
    with pytest.raises(UserError, match="1 of 3 trials finished but are missing from"):
        store.assemble()
    assert store.missing() == [2]
    assert not store.finished()


def test_irrelevant_settings_do_not_change_an_experiment(drawn_frames: Path) -> None:
    def planned(**settings: object) -> dict[str, str]:
        trials = TrialSettings.model_validate({"kernels": ("linear", "poly"), **settings})
        ready = prepare_trials(drawn_frames, trials, trials.feature_set)
        experiments = plan_experiments(trials, ready.folds, ready.frames_key)
        return {item.name: item.fingerprint for item in experiments}

    linear = planned()["svm-linear-reference-random"]
    assert planned(gamma="scale", degree=2)["svm-linear-reference-random"] == linear
    assert "svm-poly-reference-random-gamma=scale-degree=2" in planned(gamma="scale", degree=2)
    folds = planned(protocol="subject-10fold")
    assert planned(protocol="subject-10fold", seed=4, n_trials=3) == folds
    assert planned(seed=4).keys().isdisjoint(planned())
    augmented = planned(protocol="subject-10fold", seed=4, augment=1)
    assert all(name.endswith("augment=1-seed=4") for name in augmented)
