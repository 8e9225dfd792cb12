"""Jobs and their results in Python."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import fer_ray as fr
from fer_ray.errors import MismatchError, UserError

pytestmark = pytest.mark.slow

EXPERIMENT = "svm-linear-reference-random"


def test_results_of_a_run(workplace: Path) -> None:
    run = fr.run("photos", "runs/photos", profile="fast", progress=False)
    summary, frames, tested = run.summary, run.frames, run.predictions(EXPERIMENT)
    assert summary["experiment"].tolist() == sorted(run.experiments)
    row = summary.set_index("experiment").loc[EXPERIMENT]
    correct = tested["emotion"] == tested["predicted"]
    assert correct.groupby(tested["trial"]).mean().mean() == pytest.approx(row["test_accuracy"])
    assert row["interval_low"] < row["test_accuracy"] < row["interval_high"]
    assert tested.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx(1)
    landmarks = run.array("landmarks_xy")
    assert landmarks.shape == (len(frames), 136)
    assert np.array_equal(np.isnan(landmarks[:, 0]), (frames["status"] != "ok").to_numpy())
    assert run.report.is_file()
    assert run.compare(EXPERIMENT, run.experiments[1]).only_first >= 0


def test_errors_of_runs(workplace: Path, tmp_path: Path) -> None:
    run = fr.open_run("runs/photos")
    with pytest.raises(UserError, match=r"has no experiment x\. Its experiments: svm-linear"):
        run.predictions("x")
    with pytest.raises(UserError, match=r"no vector column status\. Pass one of box_xywh"):
        run.array("status")
    with pytest.raises(UserError, match="has no finished frames"):
        fr.open_run("nowhere")
    with pytest.raises(UserError, match="nowhere does not exist"):
        fr.run("nowhere", "runs/new", progress=False)
    with pytest.raises(UserError, match=r"trials\.c: this setting does not exist"):
        fr.run("photos", "runs/new", settings={"trials.c": 1}, progress=False)
    with pytest.raises(MismatchError, match="has frames of another run"):
        fr.run("photos", "runs/photos", progress=False)


def test_run_without_a_report(workplace: Path) -> None:
    copy = shutil.copytree(Path("runs/photos").resolve(), "runs/copy")
    shutil.rmtree(copy + "/report")
    with pytest.raises(UserError, match="fer-ray report --out"):
        _ = fr.open_run(copy).report
