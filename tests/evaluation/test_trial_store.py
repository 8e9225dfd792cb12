"""Trials kept one by one, without Ray."""

from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiment import plan_experiments
from fer_ray.evaluation.trial_store import TrialStore
from fer_ray.pipelines.experiments import prepare
from fer_ray.pipelines.trials import SvmTrials
from fer_ray.settings.training import TrialSettings


@pytest.mark.parametrize("others", [(), ("of-a-head-search",)])
def test_finished_trials_leave_what_another_job_has_kept(
    drawn_frames: Path, others: tuple[str, ...]
) -> None:
    settings = TrialSettings(kernels=("linear",), n_trials=2)
    ready = prepare(drawn_frames, settings, settings.feature_set)
    [experiment] = plan_experiments(settings, ready.folds, ready.frames_key)
    work = SvmTrials([experiment], ready.samples, None, drawn_frames)
    for other in others:
        (drawn_frames / "trials.partial" / other).mkdir(parents=True)
        (drawn_frames / "trials.partial" / other / "search-000000.json").write_text("{}")
    for trial in range(2):
        work((0, trial))
    kept = TrialStore(drawn_frames, experiment)
    kept.assemble()
    assert kept.finished()
    left = (drawn_frames / "trials.partial").glob("*")
    assert [folder.name for folder in left] == list(others)
    assert (drawn_frames / "trials.partial").exists() is bool(others)


def test_trials_that_cannot_be_seen_are_told_and_those_that_can_stay(drawn_frames: Path) -> None:
    settings = TrialSettings(kernels=("linear",), n_trials=3)
    ready = prepare(drawn_frames, settings, settings.feature_set)
    [experiment] = plan_experiments(settings, ready.folds, ready.frames_key)
    work = SvmTrials([experiment], ready.samples, None, drawn_frames)
    for trial in range(2):
        work((0, trial))
    kept = TrialStore(drawn_frames, experiment)
    with pytest.raises(UserError, match="1 of 3 trials were done and are not in"):
        kept.assemble()
    assert kept.missing() == [2]
    assert not kept.finished()


def test_a_setting_that_has_no_part_in_an_experiment_leaves_it_as_it_was(
    drawn_frames: Path,
) -> None:
    def planned(**settings: object) -> dict[str, str]:
        wanted = TrialSettings.model_validate({"kernels": ("linear", "poly"), **settings})
        ready = prepare(drawn_frames, wanted, wanted.feature_set)
        experiments = plan_experiments(wanted, ready.folds, ready.frames_key)
        return {one.name: one.fingerprint for one in experiments}

    linear = planned()["svm-linear-reference-random"]
    assert planned(gamma="scale", degree=2)["svm-linear-reference-random"] == linear
    assert "svm-poly-reference-random-gamma=scale-degree=2" in planned(gamma="scale", degree=2)
    folds = planned(protocol="subject-10fold")
    assert planned(protocol="subject-10fold", seed=4, n_trials=3) == folds
    assert planned(seed=4).keys().isdisjoint(planned())
    augmented = planned(protocol="subject-10fold", seed=4, augment=1)
    assert all(name.endswith("augment=1-seed=4") for name in augmented)
