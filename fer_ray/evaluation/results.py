"""What the report reads of a run folder."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from fer_ray.evaluation import split_wording
from fer_ray.evaluation.cohort import has_cohorts, is_ckplus, late_cohort
from fer_ray.evaluation.summary import ExperimentSummary, summarise
from fer_ray.evaluation.trial_store import read_leakage, read_recipe
from fer_ray.features.bottleneck_features import read_records
from fer_ray.storage.files import read_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import DESCRIBED

FRAME_COLUMNS = [
    *("image_id", "path", "subject", "role", "emotion", "label"),
    *("status", "sha256", "box_xywh", "landmarks_xy"),
]


@dataclass(frozen=True)
class ExperimentResults:
    """One experiment: its rows and its figures."""

    trials: pd.DataFrame  # `contracts.TRIALS_SCHEMA`, by trial
    predictions: pd.DataFrame  # `contracts.PREDICTIONS_SCHEMA` and `subject`
    summary: ExperimentSummary
    recipe: dict[str, Any] = field(default_factory=dict)  # `ExperimentResults.recipe` of learn
    leakage: dict[str, Any] | None = None  # `leakage.audit` of its splits, where it was kept

    @property
    def name(self) -> str:
        """The experiment's name: that of its files."""
        return self.summary.experiment

    @property
    def label(self) -> str:
        """The experiment's name for readers; its protocol is told elsewhere."""
        return split_wording.method(self.summary)

    @property
    def majority_share(self) -> float:
        """What always answering with the most frequent class would score."""
        totals = self.summary.confusion.sum(axis=1)
        return float(totals.max() / totals.sum())


@dataclass(frozen=True)
class RunResults:
    """A run folder, read."""

    frames: pd.DataFrame
    extract: dict[str, Any]  # extract.json
    experiments: tuple[ExperimentResults, ...]  # by name
    execution: dict[str, Any]  # trials.json, empty where there is none
    histories: dict[str, pd.DataFrame] = field(default_factory=dict)  # of heads, by experiment
    backbones: dict[str, dict[str, Any]] = field(default_factory=dict)  # records, by table
    absent: dict[str, str] = field(default_factory=dict)  # backbones without weights, and why

    @property
    def data(self) -> dict[str, Any]:
        """The part of extract.json that tells of the source tree."""
        part: dict[str, Any] = self.extract["data"]
        return part

    @property
    def synthetic(self) -> bool:
        """Whether the faces are drawn."""
        return bool(self.data["synthetic"])

    @property
    def is_ckplus(self) -> bool:
        """Whether this is CK+ as a whole, told by its number of labelled sequences."""
        return is_ckplus(self.data)

    @property
    def data_name(self) -> str:
        """What every accuracy names as its data."""
        if self.synthetic:
            return "synthetic faces"
        return "CK+" if self.is_ckplus else f"“{Path(self.data['root']).name}”"

    @property
    def crop_size_px(self) -> int:
        """Side of the square crops whose pixels the landmarks are in."""
        return int(self.extract["settings"].get("crop", {}).get("size_px", 350))

    @cached_property
    def usable(self) -> pd.DataFrame:
        """The rows with landmarks, by image_id."""
        usable = self.frames[self.frames["status"].isin(DESCRIBED)]
        return usable.sort_values("image_id", ignore_index=True)


def read_results(run_dir: Path) -> RunResults:
    """Read a run folder, finished or not, that has frames."""
    run = RunFolder(run_dir)
    frames = read_table(run.frames, columns=FRAME_COLUMNS).to_pandas()
    for name in ("subject", "emotion"):  # missing values as None, which is false, unlike nan
        frames[name] = frames[name].astype(object).where(frames[name].notna(), None)
    deep = read_json(run.deep_record) or {}
    return RunResults(
        frames=frames,
        extract=_read_json(run.extract_record),
        experiments=_experiments(run, frames),
        execution=_read_json(run.trials_record) if run.trials_record.exists() else {},
        histories={name: read_table(file).to_pandas() for name, file in run.histories()},
        backbones=read_records(run_dir),
        absent=deep.get("weights_not_available", {}),
    )


def read_experiments(run_dir: Path, *names: str) -> tuple[ExperimentResults, ...]:
    """The finished experiments of a run folder, sorted by name.

    Args:
        run_dir: A run folder.
        *names: The experiments to read. All of them by default.
    """
    run = RunFolder(run_dir)
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
    answers = read_table(run.predictions_of(name)).to_pandas()
    answers = answers.merge(images, on="image_id", how="left", validate="many_to_one")
    recipe, leakage = read_recipe(file), read_leakage(file)
    return ExperimentResults(trials, answers, summarise(trials, answers), recipe, leakage)


def _read_json(file: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def late_cohorts(
    data: dict[str, Any], experiments: Iterable[ExperimentResults]
) -> dict[str, dict[str, Any]]:
    """`late_cohort` of each experiment that has one, as JSON values, by the experiment's name.

    Args:
        data: `data` of extract.json.
        experiments: Experiments on that source.
    """
    if not has_cohorts(data):
        return {}
    found = {item.name: late_cohort(item.predictions) for item in experiments}
    return {name: late.record() for name, late in found.items() if late is not None}
