"""Heads as experiments: the same splits, tables and figures as the trials of SVMs."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment import (
    Experiment,
    changed_settings,
    experiment_name,
    splitting_settings,
)
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.trial_store import TrialResult, TrialStore, score_trial
from fer_ray.evaluation.protocols.folds import Folds
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.networks.heads.head import HeadTraining, train_head
from fer_ray.networks.heads.head_data import Floats, head_data, validation_split
from fer_ray.networks.keras_backend import load_keras
from fer_ray.schemas import HISTORY_SCHEMA
from fer_ray.settings.base import fingerprint
from fer_ray.settings.networks import HeadSettings
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import read_json, write_bytes, write_json
from fer_ray.storage.parquet import write_table
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import EMOTIONS


@dataclass(frozen=True)
class HeadExperiment(Experiment):
    """Trials of one head on one feature set."""

    settings: HeadSettings


def plan_heads(
    head: str, settings: HeadSettings, feature_set: str, splitting: TrialSettings, folds: Folds,
    frames_key: str,
) -> HeadExperiment:  # fmt: skip
    """Describe the trials of a head as an experiment.

    Args:
        head: Name of the head in `settings.networks.HEADS`.
        settings: Settings of the head.
        feature_set: Feature set that it is trained on.
        splitting: Classes and seed.
        folds: Splits of the protocol.
        frames_key: Fingerprint of the features.
    """
    classifier = "head" if head == "reference" else f"head-{head}"
    split = changed_settings(splitting, {"classes", *splitting_settings(folds, seeded=True)})
    own = {"head": settings.model_dump(mode="json")}
    key = head_fingerprint(own, feature_set, splitting, folds, frames_key)
    return HeadExperiment(
        name=experiment_name([classifier, feature_set, folds.protocol, *split], key),
        fingerprint=key,
        classifier=classifier,
        feature_set=feature_set,
        protocol=folds.protocol,
        seed=splitting.seed,
        splits=folds.splits,
        leakage=folds.leakage,
        fit_settings={**own, "classes": splitting.classes},
        settings=settings,
    )


def head_fingerprint(
    own: dict[str, Any], feature_set: str, splitting: TrialSettings, folds: Folds, frames_key: str
) -> str:
    """Fingerprint of an experiment with heads: its settings, features, splits and frames."""
    content = {
        **own,
        "feature_set": feature_set,
        "splitting": splitting.model_dump(
            mode="json", include={"classes", *splitting_settings(folds, seeded=True)}
        ),
        "protocol": folds.protocol,
        "frames": frames_key,
    }
    return fingerprint(content)


@dataclass(frozen=True)
class HeadStore:
    """Files of an experiment with heads in addition to its trials: histories, best head, card.

    Attributes:
        out: Run folder.
        experiment: The experiment.
    """

    out: Path
    experiment: Experiment

    def write_trial(
        self, trial: int, training: HeadTraining, samples: Samples, split: Split, inner: Split,
        started: float, details: dict[str, Any],
    ) -> None:  # fmt: skip
        """Store one trial: head and history first, then its predictions, which mark it as done."""
        self._partial.mkdir(parents=True, exist_ok=True)
        result = head_result(training, samples, split, inner, started)
        training.save(self._partial / f"{trial:06d}.keras")
        record = {
            "trial": trial,
            "best": training.best,
            "history": training.history,
            "fitted": len(inner.train),
            "validated": len(inner.test),
            "details": details,
        }
        write_json(record, self._partial / f"{trial:06d}.json")
        TrialStore(self.out, self.experiment).write_trial(trial, samples, result)

    def assemble(self, card: dict[str, Any]) -> None:
        """Write the histories, the best head and its card, then the trials.

        The best head is the one with the lowest validation loss; test images play no part.

        Raises:
            UserError: Training diverged in a trial.
        """
        records = [read_json(file) for file in sorted(self._partial.glob("[0-9]*.json"))]
        trials = [record for record in records if record is not None]
        _require_finite(trials)
        run, name = RunFolder(self.out), self.experiment.name
        run.heads.mkdir(exist_ok=True)
        best = min(trials, key=lambda trial: (trial["best"]["validation_loss"], trial["trial"]))
        self._write_history(trials)
        # A copy, so that a job stopped before the trials are written can assemble again.
        head = (self._partial / f"{best['trial']:06d}.keras").read_bytes()
        write_bytes(head, run.head_of(name))
        sizes = {"images_fitted": best["fitted"], "images_validated": best["validated"]}
        chosen = {"trial": best["trial"], "by": "least validation loss", **sizes, **best["best"]}
        write_json({**card, **best["details"], "chosen": chosen}, run.head_card(name))
        TrialStore(self.out, self.experiment).assemble()

    def _write_history(self, trials: list[dict[str, Any]]) -> None:
        name = self.experiment.name
        rows = [{"experiment": name, "trial": trial["trial"], **epoch}
                for trial in trials for epoch in trial["history"]]  # fmt: skip
        table = pa.Table.from_pylist(rows, schema=HISTORY_SCHEMA)
        write_table(table, RunFolder(self.out).head_history(name))

    @property
    def _partial(self) -> Path:
        return RunFolder(self.out).trials_partial / self.experiment.fingerprint[:16]


def _require_finite(trials: list[dict[str, Any]]) -> None:
    """Require an epoch with a finite loss in each trial; otherwise its head is untrained."""
    diverged = [
        trial["trial"] for trial in trials if not math.isfinite(trial["best"]["validation_loss"])
    ]
    if diverged:
        raise UserError(
            "Training diverged: no epoch has a finite validation loss in trial "
            f"{', '.join(map(str, diverged))}. The features may be very large. Run "
            "`fer-ray search-heads`, which tries standardised features and lower learning rates."
        )


def head_result(
    training: HeadTraining, samples: Samples, split: Split, inner: Split, started: float
) -> TrialResult:
    """The result of a trained head; its training figures are those of the fitted images.

    `n_train` includes the validation images: they select the epoch, so they are not test images.
    """
    rows = np.concatenate([inner.train, split.test])
    probabilities = training.probabilities(samples.features[rows].astype(np.float32))
    seconds = time.perf_counter() - started
    result = score_trial(samples.labels[rows], probabilities, len(inner.train), seconds)
    return replace(result, figures={**result.figures, "n_train": len(split.train)})


@dataclass(frozen=True)
class HeadTrials:
    """Trials of a head, for a worker: call it with the number of a trial to run and store it.

    Attributes:
        experiment: The experiment.
        samples: Plain features.
        draws: Augmented features (draws, n, width) of the same images, or None.
        out: Run folder, the same path on every node.
    """

    experiment: HeadExperiment
    samples: Samples
    draws: Floats | None
    out: Path

    def __call__(self, trial: int) -> None:
        """Run one trial and store it."""
        load_keras(threads=1)  # before the clock starts: it happens once per process
        started = time.perf_counter()
        experiment, settings = self.experiment, self.experiment.settings
        split, seed = experiment.splits[trial], experiment.seed
        share = settings.validation_share
        inner = validation_split(self.samples, split.train, experiment.protocol, share, seed, trial)
        data = head_data(self.samples, self.draws, inner)
        training = train_head(settings, data, seed * 1_000 + trial)
        details = {"head": settings.model_dump(mode="json")}
        store = HeadStore(self.out, experiment)
        store.write_trial(trial, training, self.samples, split, inner, started, details)


def head_card(
    experiment: Experiment,
    samples: Samples,
    backbones: dict[str, dict[str, Any]],
    augmented: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The card of a head: what its inputs are. Settings and figures are added later.

    Args:
        experiment: The head's experiment.
        samples: Samples of the experiment.
        backbones: Records of the bottleneck features that it uses, by backbone.
        augmented: Record of the augmented features that it is trained on, or None.
    """
    fields = ("weights", "draws", "drawn", "augmentation")
    return {
        "experiment": experiment.name,
        "fingerprint": experiment.fingerprint,
        "feature_set": experiment.feature_set,
        "input_width": samples.features.shape[1],
        "labels": [EMOTIONS[code] for code in np.unique(samples.labels)],
        "backbones": {
            name: {part: record[part] for part in ("weights", "preprocessing", "input_px")}
            for name, record in backbones.items()
        },
        "augmented": augmented and {field: augmented[field] for field in fields},
        "figures": {},
    }
