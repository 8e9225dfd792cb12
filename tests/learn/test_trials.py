"""Trials kept one by one, without Ray."""

from pathlib import Path

import pytest

from fer_ray.experiments import prepare
from fer_ray.learn.settings import TrialSettings
from fer_ray.learn.trials import PARTIAL, SvmTrials, TrialStore, plan_experiments


@pytest.mark.parametrize("others", [(), ("of-a-head-search",)])
def test_finished_trials_leave_what_another_job_has_kept(
    drawn_frames: Path, others: tuple[str, ...]
) -> None:
    settings = TrialSettings(kernels=("linear",), n_trials=2)
    ready = prepare(drawn_frames, settings, settings.feature_set)
    [experiment] = plan_experiments(settings, ready.folds, ready.frames_key)
    work = SvmTrials([experiment], ready.samples, None, drawn_frames)
    for other in others:
        (drawn_frames / PARTIAL / other).mkdir(parents=True)
        (drawn_frames / PARTIAL / other / "search-000000.json").write_text("{}")
    for trial in range(2):
        work((0, trial))
    kept = TrialStore(drawn_frames, experiment)
    kept.assemble()
    assert kept.finished()
    left = (drawn_frames / PARTIAL).glob("*")
    assert [folder.name for folder in left] == list(others)
    assert (drawn_frames / PARTIAL).exists() is bool(others)
