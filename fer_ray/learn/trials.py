"""Repeated trials as a job: which experiments, what is done already, and their tables. No Ray."""

import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_ray.config import Kernel, TrialSettings, fingerprint
from fer_ray.contracts import (
    EMOTIONS,
    PREDICTIONS_SCHEMA,
    TRIALS_SCHEMA,
    Status,
    feature_column,
)
from fer_ray.data import store
from fer_ray.errors import UserError
from fer_ray.learn.splits import Split, make_splits, share_of_known_subjects
from fer_ray.learn.svm import TrialResult

TRIALS = "trials"
PREDICTIONS = "predictions"
PARTIAL = "trials.partial"
FEWEST_TO_TEST = 5  # images of a class of which int(0.2 n) is at least one

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Samples:
    """The labelled images that have features, by image_id.

    Attributes:
        image_ids: (n,).
        subjects: (n,), None where unknown.
        labels: Class codes (n,).
        features: (n, width) float64.
    """

    image_ids: list[str]
    subjects: list[str | None]
    labels: NDArray[np.int8]
    features: NDArray[np.float64]


def read_samples(frames: Path, feature_set: str) -> Samples:
    """The rows of `frames` that are ok and labelled.

    Raises:
        UserError: There are none, or the feature set was not extracted.
    """
    column = feature_column(feature_set)
    if column not in pq.read_schema(next(frames.glob("*.parquet"))).names:
        raise UserError(
            f"{frames} lacks the feature set {feature_set}. Extract it: "
            f"--set extract.features.sets='[{feature_set}]'"
        )
    table = pq.read_table(
        frames,
        columns=["image_id", "subject", "label", column],
        filters=[("status", "=", Status.OK.value), ("label", "in", list(range(len(EMOTIONS))))],
    ).sort_by("image_id")
    if not table.num_rows:
        raise UserError(
            "No labelled image has features, so there is nothing to train on. Is the source "
            "labelled, and were faces found? See the counts by status above or in extract.json."
        )
    flat = table[column].combine_chunks().flatten().to_numpy()
    return Samples(
        table["image_id"].to_pylist(),
        table["subject"].to_pylist(),
        table["label"].to_numpy().astype(np.int8),
        flat.reshape(table.num_rows, -1).astype(np.float64),
    )


def warnings_for(samples: Samples) -> list[str]:
    """What a reader of the trials ought to know about the samples."""
    counts = Counter(samples.labels.tolist())
    few = [f"{EMOTIONS[code]} ({n})" for code, n in sorted(counts.items()) if n < FEWEST_TO_TEST]
    absent = [name for code, name in enumerate(EMOTIONS) if code not in counts]
    found = []
    if few:
        found.append(
            f"Fewer than {FEWEST_TO_TEST} images: {', '.join(few)}. Random splits test none of "
            "them, and no figure for these classes means much."
        )
    if absent:
        found.append(f"No image at all: {', '.join(absent)}.")
    return found


@dataclass(frozen=True)
class Experiment:
    """One kernel on one feature set under one protocol.

    Attributes:
        name: Names every setting that differs from the reference, so that no two share one.
        fingerprint: Of its settings and of the frames.
    """

    name: str
    fingerprint: str
    kernel: Kernel
    settings: TrialSettings
    splits: list[Split]

    @property
    def classifier(self) -> str:
        """The classifier's name in tables."""
        return f"svm-{self.kernel}"


def plan_experiments(
    settings: TrialSettings, samples: Samples, frames_key: str
) -> list[Experiment]:
    """The experiments that `settings` ask for.

    Args:
        settings: Kernels, protocol and the rest.
        samples: What they are to be made on.
        frames_key: Names the frames that the samples come from.
    """
    splits = make_splits(settings, samples.labels, samples.subjects)
    experiments = []
    for kernel in settings.kernels:
        relevant = settings.model_dump(mode="json", exclude={"kernels"})
        key = fingerprint({"kernel": kernel, "settings": relevant, "frames": frames_key})
        experiments.append(Experiment(_name(kernel, settings), key, kernel, settings, splits))
    return experiments


def _name(kernel: Kernel, settings: TrialSettings) -> str:
    parts = [f"svm-{kernel}", settings.feature_set, settings.protocol]
    shown = {
        "scale",
        "C",
        "gamma",
        "degree",
        "tol",
        "train_share",
        "test_share",
        "n_trials",
        "seed",
    }
    if settings.protocol != "random":  # folds know neither
        shown -= {"train_share", "test_share", "n_trials", "seed"}
    if kernel == "linear":
        shown.discard("gamma")
    if kernel != "poly":
        shown.discard("degree")
    reference = TrialSettings()
    for field in TrialSettings.model_fields:
        value = getattr(settings, field)
        if field in shown and value != getattr(reference, field):
            parts.append(f"{field}={value}")
    return "-".join(parts)


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
        keys = pq.read_table(file, columns=["fingerprint"])["fingerprint"].unique().to_pylist()
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
        """Write the experiment's two tables, the trials last: their presence says it is done."""
        tables = [pq.read_table(file) for file in sorted(self._partial.glob("[0-9]*.parquet"))]
        rows = [json.loads(table.schema.metadata[b"trial"]) for table in tables]
        common = {
            "experiment": self._experiment.name,
            "fingerprint": self._experiment.fingerprint,
            "classifier": self._experiment.classifier,
            "feature_set": self._experiment.settings.feature_set,
            "protocol": self._experiment.settings.protocol,
            "seed": self._experiment.settings.seed,
        }
        predictions = pa.concat_tables(table.replace_schema_metadata(None) for table in tables)
        for name, table in (
            (PREDICTIONS, predictions),
            (TRIALS, pa.Table.from_pylist([common | row for row in rows], schema=TRIALS_SCHEMA)),
        ):
            self._file(name).parent.mkdir(exist_ok=True)
            store.write_table(table, self._file(name))
        store.remove(self._partial)

    def _file(self, folder: str) -> Path:
        return self._out / folder / f"{self._experiment.name}.parquet"


def read_experiments(out: Path) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Trials and predictions of every finished experiment of a run folder, by its name.

    Predictions come with the `subject` and `path` of their image.
    """
    known = pq.read_table(out / "frames", columns=["image_id", "subject", "path"]).to_pandas()
    found = {}
    for file in sorted((out / TRIALS).glob("*.parquet")):
        predictions = pq.read_table(out / PREDICTIONS / file.name).to_pandas()
        found[file.stem] = (
            pq.read_table(file).to_pandas(),
            predictions.merge(known, on="image_id", how="left", validate="many_to_one"),
        )
    return found
