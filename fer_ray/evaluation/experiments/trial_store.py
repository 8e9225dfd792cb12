"""Storage of an experiment's trials: which are missing, and their tables once all are finished."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.evaluation import metrics
from fer_ray.evaluation.experiments.experiment import Experiment
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.protocols.splits import Split, subject_overlap
from fer_ray.schemas import PREDICTIONS_SCHEMA, TRIALS_SCHEMA
from fer_ray.storage.files import remove, require_visible
from fer_ray.storage.parquet import read_schema, read_table, write_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import EMOTIONS

# Keys in the metadata of a trials file.
FIT_SETTINGS = "fer_ray.recipe"
LEAKAGE = "fer_ray.leakage"


@dataclass(frozen=True)
class TrialResult:
    """Figures of one trial and its predictions for the test images, in the split's order."""

    figures: dict[str, float]  # columns of schemas.TRIALS_SCHEMA
    predicted: NDArray[np.int8]  # (n_test,)
    probabilities: NDArray[np.float64]  # (n_test, 8)


def score_trial(
    labels: NDArray[np.int8],
    probabilities: NDArray[np.float64],
    n_train: int,
    seconds: float,
    predicted: NDArray[np.int8] | None = None,
) -> TrialResult:
    """Compute the figures of a trial.

    Args:
        labels: Class codes (n,) of its images, training images first.
        probabilities: Class probabilities of each image (n, 8).
        n_train: Number of training images.
        seconds: Duration of the trial.
        predicted: Predicted class codes (n,). None: the most probable class of each image.
    """
    codes = probabilities.argmax(axis=1).astype(np.int8) if predicted is None else predicted
    train, test = slice(None, n_train), slice(n_train, None)
    recall, f1 = metrics.macro_recall_and_f1(labels[test], codes[test])
    figures = {
        "n_train": n_train,
        "n_test": len(labels) - n_train,
        "train_accuracy": metrics.accuracy(labels[train], codes[train]),
        "test_accuracy": metrics.accuracy(labels[test], codes[test]),
        "train_log_loss": metrics.log_loss(labels[train], probabilities[train]),
        "test_log_loss": metrics.log_loss(labels[test], probabilities[test]),
        "test_macro_recall": recall,
        "test_macro_f1": f1,
        "seconds": seconds,
    }
    return TrialResult(figures, codes[test], probabilities[test])


class TrialStore:
    """The trials of one experiment, stored in a file each until all are finished.

    Args:
        out: Run folder.
        experiment: The experiment.
    """

    def __init__(self, out: Path, experiment: Experiment) -> None:
        self._run = RunFolder(out)
        self._experiment = experiment
        self._partial = self._run.trials_partial / experiment.fingerprint[:16]

    def finished(self) -> bool:
        """Return whether the run folder contains all trials of exactly this experiment."""
        file = self._run.trials_of(self._experiment.name)
        if not file.is_file() or not self._run.predictions_of(self._experiment.name).is_file():
            return False
        keys = read_table(file, columns=["fingerprint"])["fingerprint"].unique().to_pylist()
        return bool(keys == [self._experiment.fingerprint])

    def missing(self) -> list[int]:
        """Return the numbers of the trials that are not stored yet."""
        stored = {int(file.stem) for file in self._partial.glob("[0-9]*.parquet")}
        return [trial for trial in range(len(self._experiment.splits)) if trial not in stored]

    def write_trial(self, trial: int, samples: Samples, result: TrialResult) -> None:
        """Write the predictions of one trial, with its figures in the file's metadata."""
        split = self._experiment.splits[trial]
        self._partial.mkdir(parents=True, exist_ok=True)
        table = self._predictions(trial, split, samples, result)
        overlap = subject_overlap(samples.subjects, split)
        figures = {"trial": trial, "test_subject_in_train": overlap, **result.figures}
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

    def require_all(self) -> None:
        """Require that all trials are stored.

        Raises:
            UserError: Some trials are not visible. The others remain.
        """
        require_visible(len(self.missing()), len(self._experiment.splits), "trials", self._partial)

    def assemble(self) -> None:
        """Write the experiment's two tables; that of the trials last, as it marks completion.

        Raises:
            UserError: Not all trials are visible. The visible ones remain.
        """
        self.require_all()
        tables = [read_table(file) for file in sorted(self._partial.glob("[0-9]*.parquet"))]
        predictions = pa.concat_tables(table.replace_schema_metadata(None) for table in tables)
        for file, table in (
            (self._run.predictions_of(self._experiment.name), predictions),
            (self._run.trials_of(self._experiment.name), self._trials_table(tables)),
        ):
            file.parent.mkdir(exist_ok=True)
            write_table(table, file)
        remove(self._partial)
        with suppress(OSError):  # fails if other jobs have files in it, or if nothing was written
            self._partial.parent.rmdir()

    def _trials_table(self, tables: list[pa.Table]) -> pa.Table:
        """The figures of all trials, with settings and leakage in the metadata."""
        experiment = self._experiment
        common = {
            "experiment": experiment.name,
            "fingerprint": experiment.fingerprint,
            "classifier": experiment.classifier,
            "feature_set": experiment.feature_set,
            "protocol": experiment.protocol,
            "seed": experiment.seed,
        }
        rows = [common | json.loads(table.schema.metadata[b"trial"]) for table in tables]
        leakage = {name: count for name, count in experiment.leakage.items() if name != "splits"}
        metadata = {
            FIT_SETTINGS: json.dumps(experiment.fit_settings),
            LEAKAGE: json.dumps(leakage),
        }
        return pa.Table.from_pylist(rows, schema=TRIALS_SCHEMA).replace_schema_metadata(metadata)


def read_fit_settings(trials: Path) -> dict[str, Any]:
    """Read the `Experiment.fit_settings` of a table of trials; empty if not stored."""
    settings: dict[str, Any] = json.loads(_metadata(trials).get(FIT_SETTINGS.encode(), b"{}"))
    return settings


def read_leakage(trials: Path) -> dict[str, Any] | None:
    """Read the leakage audit of a table of trials; None if not stored."""
    audit: dict[str, Any] | None = json.loads(_metadata(trials).get(LEAKAGE.encode(), b"null"))
    return audit


def _metadata(file: Path) -> dict[bytes, bytes]:
    return read_schema(file).metadata or {}
