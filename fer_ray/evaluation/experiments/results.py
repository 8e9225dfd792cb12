"""Reading the results of a run folder: its record, frames, and experiments with their figures."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment_labels import describe_method
from fer_ray.evaluation.experiments.summary import ExperimentSummary, summarise
from fer_ray.evaluation.experiments.trial_store import read_fit_settings, read_leakage
from fer_ray.evaluation.protocols.ckplus_cohorts import has_cohorts, is_ckplus, late_cohort
from fer_ray.features.bottleneck_features import read_records
from fer_ray.storage.damage import damage_named
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import USABLE_STATUSES

FRAME_COLUMNS = [
    *("image_id", "path", "subject", "role", "emotion", "label"),
    *("status", "sha256", "box_xywh", "crop_angle", "landmarks_xy"),
]


@dataclass(frozen=True)
class ExperimentResults:
    """The tables and figures of one experiment.

    Attributes:
        trials: One row per trial (`schemas.TRIALS_SCHEMA`), in order.
        predictions: Test predictions (`schemas.PREDICTIONS_SCHEMA`) with a `subject` column.
        summary: Figures over all trials.
        fit_settings: `Experiment.fit_settings`; empty if not stored.
        leakage: `leakage.audit` of its splits; None if not stored.
    """

    trials: pd.DataFrame
    predictions: pd.DataFrame
    summary: ExperimentSummary
    fit_settings: dict[str, Any] = field(default_factory=dict)
    leakage: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The experiment's name, which its files have as well."""
        return self.summary.experiment

    @property
    def label(self) -> str:
        """A readable label of the method, without the protocol."""
        return describe_method(self.summary)

    @property
    def majority_share(self) -> float:
        """Accuracy of always predicting the majority class."""
        totals = self.summary.confusion.sum(axis=1)
        return float(totals.max() / totals.sum())


@dataclass(frozen=True)
class RunResults:
    """The content of a run folder.

    Attributes:
        frames: One row per selected image (`FRAME_COLUMNS`).
        extract: The record of the extraction (`extract.json`).
        experiments: All finished experiments, by name.
        execution: The record of the last trials (`trials.json`); empty if it does not exist.
        histories: Learning curves of network heads, by experiment.
        backbones: Records of bottleneck features, by table.
        absent: Backbones without weights, with the reason.
    """

    frames: pd.DataFrame
    extract: dict[str, Any]
    experiments: tuple[ExperimentResults, ...]
    execution: dict[str, Any]
    histories: dict[str, pd.DataFrame] = field(default_factory=dict)
    backbones: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, Any]:
        """The description of the source in extract.json."""
        part: dict[str, Any] = self.extract["data"]
        return part

    @property
    def synthetic(self) -> bool:
        """Whether the faces are synthetic."""
        return bool(self.data["synthetic"])

    @property
    def is_ckplus(self) -> bool:
        """Whether the source is the complete CK+, judged by its number of labelled sequences."""
        return is_ckplus(self.data)

    @property
    def data_name(self) -> str:
        """The name of the data that accompanies every accuracy."""
        if self.synthetic:
            return "synthetic faces"
        return "CK+" if self.is_ckplus else f"“{Path(self.data['root']).name}”"

    @property
    def crop_size_px(self) -> int:
        """Side of the square crops in whose pixels landmarks are given."""
        return int(self.extract["settings"].get("crop", {}).get("size_px", 350))

    @cached_property
    def usable(self) -> pd.DataFrame:
        """The rows with landmarks, by image_id."""
        usable = self.frames[self.frames["status"].isin(USABLE_STATUSES)]
        return usable.sort_values("image_id", ignore_index=True)


def read_results(run_dir: Path) -> RunResults:
    """Read a run folder that has frames, finished or not.

    Examples:
        >>> results = read_results(Path("results"))
        >>> [item.label for item in results.experiments]
        ['Linear SVM on reference features', 'Polynomial SVM on reference features']
    """
    run = RunFolder(run_dir)
    frames = read_table(run.frames, columns=FRAME_COLUMNS).to_pandas()
    for name in ("subject", "emotion"):  # missing values as None, which is false, unlike NaN
        frames[name] = frames[name].astype(object).where(frames[name].notna(), None)
    deep = read_json(run.deep_record) or {}
    return RunResults(
        frames=frames,
        extract=_read_record(run.extract_record),
        experiments=_experiments(run, frames),
        execution=_read_record(run.trials_record) if run.trials_record.exists() else {},
        histories={name: read_table(file).to_pandas() for name, file in run.histories()},
        backbones=read_records(run_dir),
        absent=deep.get("weights_not_available", {}),
    )


def read_experiments(run_dir: Path, *names: str) -> tuple[ExperimentResults, ...]:
    """Read finished experiments of a run folder, sorted by name.

    Args:
        run_dir: A run folder.
        *names: The experiments to read. All of them by default.
    """
    run = RunFolder(run_dir)
    with damage_named(run_dir):
        frames = read_table(run.frames, columns=["image_id", "subject"]).to_pandas()
        return _experiments(run, frames, *names)


def _experiments(
    run: RunFolder, frames: pd.DataFrame, *names: str
) -> tuple[ExperimentResults, ...]:
    images = frames[["image_id", "subject"]]
    return tuple(_read_experiment(run, name, images) for name in names or run.experiments())


def _read_experiment(run: RunFolder, name: str, images: pd.DataFrame) -> ExperimentResults:
    file = run.trials_of(name)
    trials = read_table(file).to_pandas().sort_values("trial", ignore_index=True)
    predictions = read_table(run.predictions_of(name)).to_pandas()
    predictions = predictions.merge(images, on="image_id", how="left", validate="many_to_one")
    return ExperimentResults(
        trials,
        predictions,
        summarise(trials, predictions),
        read_fit_settings(file),
        read_leakage(file),
    )


def _read_record(file: Path) -> dict[str, Any]:
    """Read a record that must exist, unlike `read_json`."""
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def find_experiment(experiments: Iterable[ExperimentResults], name: str) -> ExperimentResults:
    """Return the experiment of a given name.

    Raises:
        UserError: There is no such experiment.
    """
    by_name = {item.name: item for item in experiments}
    require_experiment(name, by_name)
    return by_name[name]


def require_experiment(name: str, known: Collection[str]) -> None:
    """Check that an experiment is among those of a run folder.

    Raises:
        UserError: The experiment is not in the run folder. The message lists those that are.
    """
    if name not in known:
        names = ", ".join(known) or "none"
        raise UserError(f"The run folder has no experiment {name}. Its experiments: {names}.")


def late_cohorts(
    data: dict[str, Any], experiments: Iterable[ExperimentResults]
) -> dict[str, dict[str, Any]]:
    """Return `late_cohort` of each experiment that has one, as JSON values by experiment name.

    Args:
        data: `data` of extract.json.
        experiments: Experiments on that source.
    """
    if not has_cohorts(data):
        return {}
    cohorts = {item.name: late_cohort(item.predictions) for item in experiments}
    return {name: late.to_record() for name, late in cohorts.items() if late is not None}
