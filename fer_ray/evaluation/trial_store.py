"""Repeated trials as a job: which experiments, what is done already, and their tables. No Ray."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiment import Experiment
from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.splits import Split, share_of_known_subjects
from fer_ray.schemas import PREDICTIONS_SCHEMA, TRIALS_SCHEMA
from fer_ray.storage.files import remove
from fer_ray.storage.parquet import read_table, write_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import EMOTIONS

# Metadata of a trials file: of the experiment.
RECIPE = "fer_ray.recipe"
LEAKAGE = "fer_ray.leakage"


@dataclass(frozen=True)
class TrialResult:
    """Figures of one trial and its answers on the test images, in the split's order."""

    figures: dict[str, float]  # columns of contracts.TRIALS_SCHEMA
    predicted: NDArray[np.int8]  # (n_test,)
    probabilities: NDArray[np.float64]  # (n_test, 8)


class TrialStore:
    """Trials of one experiment, kept one file each until all are done."""

    def __init__(self, out: Path, experiment: Experiment) -> None:
        self._run = RunFolder(out)
        self._experiment = experiment
        self._partial = self._run.trials_partial / experiment.fingerprint[:16]

    def finished(self) -> bool:
        """Whether all trials of exactly this experiment are in the run folder."""
        file = self._run.trials_of(self._experiment.name)
        if not file.is_file() or not self._run.predictions_of(self._experiment.name).is_file():
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
        write_table(table, self._partial / f"{trial:06d}.parquet")

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
        for file, table in (
            (self._run.predictions_of(self._experiment.name), predictions),
            (self._run.trials_of(self._experiment.name), figures.replace_schema_metadata(metadata)),
        ):
            file.parent.mkdir(exist_ok=True)
            write_table(table, file)
        remove(self._partial)
        with suppress(OSError):  # what another job has kept is in it, or nothing was
            self._partial.parent.rmdir()


def read_recipe(trials: Path) -> dict[str, Any]:
    """The settings that an experiment's table of trials was made with; empty if not stored."""
    recipe: dict[str, Any] = json.loads(_metadata(trials).get(RECIPE.encode(), b"{}"))
    return recipe


def read_leakage(trials: Path) -> dict[str, Any] | None:
    """The leakage audit of an experiment's splits; None if not stored."""
    audit: dict[str, Any] | None = json.loads(_metadata(trials).get(LEAKAGE.encode(), b"null"))
    return audit


def _metadata(file: Path) -> dict[bytes, bytes]:
    return pq.read_schema(file).metadata or {}


def trial_result(
    labels: NDArray[np.int8],
    probabilities: NDArray[np.float64],
    n_train: int,
    seconds: float,
    predicted: NDArray[np.int8] | None = None,
) -> TrialResult:
    """The figures of a trial.

    Args:
        labels: Class codes (n,) of its images, those of training first.
        probabilities: Of each image (n, 8).
        n_train: How many are of training.
        seconds: What the trial took.
        predicted: The answers (n,). None: the most probable class.
    """
    answers = probabilities.argmax(axis=1).astype(np.int8) if predicted is None else predicted
    train, test = slice(None, n_train), slice(n_train, None)
    counts = metrics.confusion_counts(labels[test], answers[test], len(EMOTIONS))
    figures = {
        "n_train": n_train,
        "n_test": len(labels) - n_train,
        "train_accuracy": metrics.accuracy(labels[train], answers[train]),
        "test_accuracy": metrics.accuracy(labels[test], answers[test]),
        "train_log_loss": metrics.log_loss(labels[train], probabilities[train]),
        "test_log_loss": metrics.log_loss(labels[test], probabilities[test]),
        "test_macro_recall": metrics.macro_recall(counts),
        "test_macro_f1": metrics.macro_f1(counts),
        "seconds": seconds,
    }
    return TrialResult(figures, answers[test], probabilities[test])
