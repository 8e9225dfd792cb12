"""Runs in MLflow, with its file store."""

import json
from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.evaluation.experiments.summary import summary_record
from fer_ray.pipelines.tracking import log_run
from fer_ray.report.run_page import write_report
from tests.conftest import run_in_process
from tests.report.conftest import BuiltRun, build

mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (extra `mlflow`)")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mlruns"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", folder.as_uri())
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return folder


def record_of(built: BuiltRun) -> dict[str, object]:
    extract = json.loads((built.run_dir / "extract.json").read_text())
    experiments = read_experiments(built.run_dir)
    record = {
        "fer_ray_version": "0.1.0",
        "settings": {"profile": "reference", "trials": {"C": 1.0}},
        "counts": extract["counts"],
        "extract": extract,
        "experiments": [summary_record(item.summary) for item in experiments],
    }
    (built.run_dir / "run.json").write_text(json.dumps(record))
    return record


def test_run_is_logged_once(store: Path, tmp_path: Path) -> None:
    built = build(tmp_path, experiments=(("svm-linear", "subject-10fold", 0.6),))
    write_report(built.run_dir, None, show_faces=False)
    record = record_of(built)
    assert log_run(built.run_dir, record)
    assert not log_run(built.run_dir, record)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("fer_ray").experiment_id
    runs = client.search_runs([experiment])
    parent, child = sorted(runs, key=lambda run: "mlflow.parentRunId" in run.data.tags)
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert parent.data.params["trials.C"] == "1.0"
    assert parent.data.metrics["images.ok"] == 48
    [item] = read_experiments(built.run_dir)
    assert child.info.run_name == item.name
    assert child.data.metrics["test_accuracy"] == item.summary.test_accuracy
    steps = client.get_metric_history(child.info.run_id, "trial_accuracy")
    assert [step.value for step in steps] == item.trials["test_accuracy"].tolist()
    files = {entry.path for entry in client.list_artifacts(parent.info.run_id, "report")}
    assert "report/index.html" in files
    assert {entry.path for entry in client.list_artifacts(parent.info.run_id)} == {
        "report", "run.json",
    }  # fmt: skip
    assert {run.info.status for run in (child, parent)} == {"FINISHED"}


def test_run_that_mlflow_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(UserError, match="The run is finished, but MLflow did not accept it"):
        log_run(tmp_path, {})


def test_tracking_is_checked_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    out = tmp_path / "run"
    done = run_in_process("run", "--data", tmp_path, "--out", out, "--track", "mlflow")
    assert done.returncode != 0
    assert "MLFLOW_TRACKING_URI is not set" in done.stderr
    assert not out.exists()
