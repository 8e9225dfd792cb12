"""Logging of a finished run to MLflow: parameters, figures and artefacts."""

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fer_ray.errors import UserError
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import EMOTIONS

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fer_ray.evaluation.experiments.results import ExperimentResults

EXPERIMENT = "fer_ray"  # of MLflow, unless MLFLOW_EXPERIMENT_NAME is set
DIGEST_TAG = "fer_ray.digest"  # identifies the figures of a run, which are logged once
PARENT_TAG, NAME_TAG = "mlflow.parentRunId", "mlflow.runName"
MAX_PARAMS, MAX_METRICS = 100, 1000  # per request, as MLflow limits them
METRICS = (
    *("test_accuracy", "train_accuracy", "macro_recall", "macro_f1"),
    *("test_log_loss", "train_log_loss", "calibration_error", "test_subject_in_train"),
)


def require_mlflow() -> None:
    """Check that a run can be logged, before it starts.

    Raises:
        UserError: MLflow is not installed, or no tracking server is set.
    """
    try:
        import mlflow  # noqa: F401
    except ImportError:
        raise UserError("MLflow is not installed. Run `pip install 'fer_ray[mlflow]'`.") from None
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise UserError(
            "MLFLOW_TRACKING_URI is not set. Set it to your tracking server, such as "
            "http://localhost:5000."
        )


def log_run(out: Path, record: dict[str, Any]) -> bool:
    """Log a finished run as an MLflow run with one nested run per experiment.

    The parent has the settings, the counts by status, `run.json` and the report. A nested run has
    the settings and figures of an experiment, and the accuracy of each trial as a step.

    Args:
        out: The run folder.
        record: Its `run.json`.

    Returns:
        False if the same figures have been logged before.

    Raises:
        UserError: The tracking server cannot be reached, or rejects the run.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return _log(MlflowClient(os.environ["MLFLOW_TRACKING_URI"]), out, record)
    except (MlflowException, OSError) as problem:
        raise UserError(
            f"The run is finished, but MLflow did not accept it: {problem} Check "
            "MLFLOW_TRACKING_URI, and rerun the same command to log the run."
        ) from None


def _log(client: "MlflowClient", out: Path, record: dict[str, Any]) -> bool:
    from fer_ray.evaluation.experiments.results import read_experiments

    experiment = _experiment_id(client)
    digest = _digest(record)
    if client.search_runs([experiment], f"tags.`{DIGEST_TAG}` = '{digest}'", max_results=1):
        return False
    tags = {NAME_TAG: out.name, "fer_ray.version": record["fer_ray_version"]}
    parent = client.create_run(experiment, tags=tags).info.run_id
    _log_params(client, parent, dict(_flatten(record["settings"])))
    counts = {f"images.{status}": count for status, count in record["counts"].items()}
    _log_metrics(client, parent, [(name, value, 0) for name, value in counts.items()])
    _log_artifacts(client, parent, out)
    for item in read_experiments(out):
        tags = {NAME_TAG: item.name, PARENT_TAG: parent}
        child = client.create_run(experiment, tags=tags).info.run_id
        _log_experiment(client, child, item)
        client.set_terminated(child)
    client.set_tag(parent, DIGEST_TAG, digest)  # last: an interrupted log is repeated
    client.set_terminated(parent)
    return True


def _experiment_id(client: "MlflowClient") -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    known = client.get_experiment_by_name(name)
    return str(known.experiment_id if known else client.create_experiment(name))


def _digest(record: dict[str, Any]) -> str:
    """A digest of the settings and the figures of a run."""
    fingerprint = record["extract"]["fingerprint"]
    content = [fingerprint, record["settings"], record["experiments"]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _flatten(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings as pairs of a dotted name and a value."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _log_experiment(client: "MlflowClient", run: str, item: "ExperimentResults") -> None:
    summary = item.summary
    names = ("classifier", "feature_set", "protocol", "n_trials", "n_images", "n_subjects")
    about = {name: str(getattr(summary, name)) for name in names}
    fit_settings = {f"fit.{name}": value for name, value in _flatten(item.fit_settings)}
    _log_params(client, run, about | fit_settings | {"interval": summary.interval_method})
    figures = [(name, float(getattr(summary, name)), 0) for name in METRICS]
    low, high = summary.interval
    figures += [("test_accuracy_low", low, 0), ("test_accuracy_high", high, 0)]
    recalls = zip(EMOTIONS, summary.class_recalls, strict=True)
    figures += [(f"recall.{name}", float(value), 0) for name, value in recalls]
    trials = zip(item.trials["trial"], item.trials["test_accuracy"], strict=True)
    figures += [("trial_accuracy", float(value), int(trial)) for trial, value in trials]
    _log_metrics(client, run, figures)


def _log_params(client: "MlflowClient", run: str, params: dict[str, str]) -> None:
    from mlflow.entities import Param

    for batch in _batches(list(params.items()), MAX_PARAMS):
        client.log_batch(run, params=[Param(name, value) for name, value in batch])


def _log_metrics(client: "MlflowClient", run: str, figures: list[tuple[str, float, int]]) -> None:
    """Log figures, each as name, value and step; unknown ones (NaN) are left out."""
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    known = [figure for figure in figures if not math.isnan(figure[1])]
    for batch in _batches(known, MAX_METRICS):
        metrics = [Metric(name, value, now, step) for name, value, step in batch]
        client.log_batch(run, metrics=metrics)


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _log_artifacts(client: "MlflowClient", run: str, out: Path) -> None:
    """Copy `run.json` and the report into the artefacts, from a disk or an object store."""
    folder = RunFolder(out)
    with TemporaryDirectory(prefix="fer-ray-") as scratch:
        target = Path(scratch)
        (target / "report").mkdir()
        (target / folder.run_record.name).write_bytes(folder.run_record.read_bytes())
        for file in folder.report.iterdir():
            (target / "report" / file.name).write_bytes(file.read_bytes())
        client.log_artifacts(run, scratch)
