"""Repeated trials as a job: which experiments, what is done already, and their tables. No Ray."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.contracts import EMOTIONS, PREDICTIONS_SCHEMA, TRIALS_SCHEMA
from fer_ray.data import store
from fer_ray.data.tables import read_table
from fer_ray.errors import UserError
from fer_ray.learn.experiment import Experiment, SvmExperiment
from fer_ray.learn.samples import Samples
from fer_ray.learn.splits import Split, share_of_known_subjects
from fer_ray.learn.svm import TrialResult, run_trial

TRIALS = "trials"
PREDICTIONS = "predictions"
PARTIAL = "trials.partial"
# Metadata of a trials file: of the experiment.
RECIPE = "fer_ray.recipe"
LEAKAGE = "fer_ray.leakage"


class TrialStore:
    """Trials of one experiment, kept one file each until all are done."""

    def __init__(self, out: Path, experiment: Experiment) -> None:
        self._out = out
        self._experiment = experiment
        self._partial = out / PARTIAL / experiment.fingerprint[:16]

    def finished(self) -> bool:
        """Whether all trials of exactly this experiment are in the run folder."""
        file = self._file(TRIALS)
        if not file.is_file() or not self._file(PREDICTIONS).is_file():
            return False
        keys = read_table(file, columns=["fingerprint"])["fingerprint"].unique().to_pylist()
        return bool(keys == [self._experiment.fingerprint])

    def missing(self) -> list[int]:
        """Trials that are not kept yet."""
        done = {int(file.stem) for file in self._partial.glob("[0-9]*.parquet")}
        return [trial for trial in range(len(self._experiment.splits)) if trial not in done]

    def keep(self, trial: int, samples: Samples, result: TrialResult) -> None:
        """Keep one trial: its predictions, with its figures in the file's metadata."""
        split = self._experiment.splits[trial]
        self._partial.mkdir(parents=True, exist_ok=True)
        table = self._predictions(trial, split, samples, result)
        share = share_of_known_subjects(samples.subjects, split)
        figures = {"trial": trial, "test_subject_in_train": share, **result.figures}
        table = table.replace_schema_metadata({"trial": json.dumps(figures)})
        store.write_table(table, self._partial / f"{trial:06d}.parquet")

    def _predictions(
        self, trial: int, split: Split, samples: Samples, result: TrialResult
    ) -> pa.Table:
        flat = pa.array(result.probabilities.astype(np.float32).ravel())
        columns = {
            "experiment": [self._experiment.name] * len(split.test),
            "trial": [trial] * len(split.test),
            "image_id": [samples.image_ids[index] for index in split.test],
            "label": samples.labels[split.test],
            "predicted": result.predicted,
            "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(EMOTIONS)),
        }
        return pa.table(columns).cast(PREDICTIONS_SCHEMA)

    def assemble(self) -> None:
        """Write the experiment's two tables, the trials last: their presence says it is done.

        Raises:
            UserError: Not all trials can be seen; those that can stay.
        """
        if missing := self.missing():
            raise UserError(
                f"{len(missing)} of {len(self._experiment.splits)} trials were done and are not in "
                f"{self._partial}: the storage shows files late, or a node writes to another disk. "
                "What is there is kept; run the same again."
            )
        tables = [read_table(file) for file in sorted(self._partial.glob("[0-9]*.parquet"))]
        rows = [json.loads(table.schema.metadata[b"trial"]) for table in tables]
        common = {
            "experiment": self._experiment.name,
            "fingerprint": self._experiment.fingerprint,
            "classifier": self._experiment.classifier,
            "feature_set": self._experiment.feature_set,
            "protocol": self._experiment.protocol,
            "seed": self._experiment.seed,
        }
        predictions = pa.concat_tables(table.replace_schema_metadata(None) for table in tables)
        figures = pa.Table.from_pylist([common | row for row in rows], schema=TRIALS_SCHEMA)
        shared = {
            name: count for name, count in self._experiment.leakage.items() if name != "splits"
        }
        metadata = {RECIPE: json.dumps(self._experiment.recipe), LEAKAGE: json.dumps(shared)}
        for name, table in (
            (PREDICTIONS, predictions),
            (TRIALS, figures.replace_schema_metadata(metadata)),
        ):
            self._file(name).parent.mkdir(exist_ok=True)
            store.write_table(table, self._file(name))
        store.remove(self._partial)
        with suppress(OSError):  # what another job has kept is in it, or nothing was
            self._partial.parent.rmdir()

    def _file(self, folder: str) -> Path:
        return self._out / folder / f"{self._experiment.name}.parquet"


@dataclass(frozen=True)
class SvmTrials:
    """All that a worker needs to do SVM trials; called with one, it does and keeps it.

    Attributes:
        experiments: What a trial may be of.
        samples: What to train and test on.
        copies: Features of changed copies (copies, n, width) of the same images; None: none.
        out: Run folder, the same on every node.
    """

    experiments: list[SvmExperiment]
    samples: Samples
    copies: NDArray[np.float64] | None
    out: Path

    def __call__(self, piece: tuple[int, int]) -> None:
        """Do one trial: the number of its experiment, and its own."""
        experiment, trial = self.experiments[piece[0]], piece[1]
        result = run_trial(
            experiment.kernel,
            experiment.settings,
            self.samples.features,
            self.samples.labels,
            experiment.splits[trial],
            self.copies,
        )
        TrialStore(self.out, experiment).keep(trial, self.samples, result)


def read_experiments(out: Path) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Trials and predictions of every finished experiment of a run folder, by its name.

    Predictions come with the `subject` and `path` of their image.
    """
    files = sorted((out / TRIALS).glob("*.parquet"))
    return {file.stem: read_experiment(out, file.stem) for file in files}


def read_experiment(out: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and predictions of one of them."""
    known = read_table(out / "frames", columns=["image_id", "subject", "path"]).to_pandas()
    predictions = read_table(out / PREDICTIONS / f"{name}.parquet").to_pandas()
    return (
        read_table(out / TRIALS / f"{name}.parquet").to_pandas(),
        predictions.merge(known, on="image_id", how="left", validate="many_to_one"),
    )
