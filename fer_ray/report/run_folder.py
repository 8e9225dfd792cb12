"""What the report reads of a run folder."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from fer_ray.contracts import DESCRIBED
from fer_ray.data.tables import read_table
from fer_ray.deep.tables import read_records
from fer_ray.learn.cohort import is_ckplus
from fer_ray.learn.summary import ExperimentSummary, summarise
from fer_ray.learn.trials import LEAKAGE, RECIPE
from fer_ray.report import wording

HISTORY = ".history.parquet"  # ending of a head's learning curves
FRAME_COLUMNS = [
    *("image_id", "path", "subject", "role", "emotion", "label"),
    *("status", "sha256", "box_xywh", "landmarks_xy"),
]


@dataclass(frozen=True)
class Experiment:
    """One experiment: its rows and its figures."""

    trials: pd.DataFrame  # `contracts.TRIALS_SCHEMA`, by trial
    predictions: pd.DataFrame  # `contracts.PREDICTIONS_SCHEMA` and `subject`
    summary: ExperimentSummary
    recipe: dict[str, Any] = field(default_factory=dict)  # `Experiment.recipe` of learn
    leakage: dict[str, Any] | None = None  # `leakage.audit` of its splits, where it was kept

    @property
    def label(self) -> str:
        """The experiment's name for readers; its protocol is told elsewhere."""
        return wording.method(self.summary)

    @property
    def majority_share(self) -> float:
        """What always answering with the most frequent class would score."""
        totals = self.summary.confusion.sum(axis=1)
        return float(totals.max() / totals.sum())


@dataclass(frozen=True)
class RunFolder:
    """A run folder, read."""

    frames: pd.DataFrame
    extract: dict[str, Any]  # extract.json
    experiments: tuple[Experiment, ...]  # by name
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


def read_run(run_dir: Path) -> RunFolder:
    """Read a run folder, finished or not, that has its frames."""
    frames = read_table(run_dir / "frames", columns=FRAME_COLUMNS).to_pandas()
    for name in ("subject", "emotion"):  # null as None, which is false, and not as nan
        frames[name] = frames[name].astype(object).where(frames[name].notna(), None)
    experiments = tuple(
        _read_experiment(file, run_dir / "predictions" / file.name, frames)
        for file in sorted((run_dir / "trials").glob("*.parquet"))
    )
    execution, deep = run_dir / "trials.json", run_dir / "deep.json"
    return RunFolder(
        frames=frames,
        extract=_read_json(run_dir / "extract.json"),
        experiments=experiments,
        execution=_read_json(execution) if execution.exists() else {},
        histories={
            file.name.removesuffix(HISTORY): read_table(file).to_pandas()
            for file in sorted((run_dir / "heads").glob(f"*{HISTORY}"))
        },
        backbones=read_records(run_dir),
        absent=_read_json(deep)["weights_not_available"] if deep.exists() else {},
    )


def _read_experiment(trials: Path, predictions: Path, frames: pd.DataFrame) -> Experiment:
    table = read_table(trials)
    rows = table.to_pandas().sort_values("trial", ignore_index=True)
    subjects = frames.set_index("image_id")["subject"]
    answers = read_table(predictions).to_pandas().join(subjects, on="image_id")
    kept = table.schema.metadata or {}
    recipe, leakage = (json.loads(kept.get(key.encode(), "null")) for key in (RECIPE, LEAKAGE))
    return Experiment(rows, answers, summarise(rows, answers), recipe or {}, leakage)


def _read_json(file: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record
