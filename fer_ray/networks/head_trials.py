"""Heads as experiments beside the SVM trials: the same splits, tables and figures. No Ray."""

import math
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.evaluation.experiment import Experiment, differences, file_name, splitting_settings
from fer_ray.evaluation.folds import Folds
from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.splits import Split
from fer_ray.evaluation.trial_store import TrialResult, TrialStore, trial_result
from fer_ray.networks.head import HeadTraining, train_head
from fer_ray.networks.head_data import Floats, head_data, validation_split
from fer_ray.networks.keras_backend import load_keras
from fer_ray.schemas import HISTORY_SCHEMA
from fer_ray.settings.base import fingerprint
from fer_ray.settings.networks import HeadSettings
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import read_json, write_json
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
    """The experiment that a head's trials are.

    Args:
        head: Its name in `settings.HEADS`.
        settings: Of that head.
        feature_set: What it stands on.
        splitting: Classes and seed.
        folds: The splits of their protocol.
        frames_key: Names the features' origin.
    """
    classifier = "head" if head == "reference" else f"head-{head}"
    split = differences(splitting, {"classes", *splitting_settings(folds, seeded=True)})
    own = {"head": settings.model_dump(mode="json")}
    key = head_fingerprint(own, feature_set, splitting, folds, frames_key)
    return HeadExperiment(
        name=file_name([classifier, feature_set, folds.protocol, *split], key),
        fingerprint=key,
        classifier=classifier,
        feature_set=feature_set,
        protocol=folds.protocol,
        seed=splitting.seed,
        splits=folds.splits,
        leakage=folds.leakage,
        recipe={**own, "classes": splitting.classes},
        settings=settings,
    )


def head_fingerprint(
    made_by: dict[str, Any], feature_set: str, splitting: TrialSettings, folds: Folds,
    frames_key: str,
) -> str:  # fmt: skip
    """Of an experiment with heads: its own settings, features, splits and their origin."""
    content = {
        **made_by,
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
    """What a head leaves besides its trials: histories, the best head, and its card."""

    out: Path
    experiment: Experiment

    def keep(
        self, trial: int, training: HeadTraining, samples: Samples, split: Split, inner: Split,
        started: float, details: dict[str, Any],
    ) -> None:  # fmt: skip
        """Keep one trial: head and history, then its predictions, which say that it is done."""
        self._partial.mkdir(parents=True, exist_ok=True)
        result = head_result(training, samples, split, inner, started)
        training.save(self._partial / f"{trial:06d}.keras")
        kept = {
            "trial": trial,
            "best": training.best,
            "history": training.history,
            "fitted": len(inner.train),
            "validated": len(inner.test),
            "details": details,
        }
        write_json(kept, self._partial / f"{trial:06d}.json")
        TrialStore(self.out, self.experiment).keep(trial, samples, result)

    def assemble(self, card: dict[str, Any]) -> None:
        """Write histories, the head of least validation loss and its card, then the trials.

        No test image takes part in choosing the head.

        Raises:
            UserError: The loss of one of them was never a number.
        """
        kept = [read_json(file) for file in sorted(self._partial.glob("[0-9]*.json"))]
        trials = [one for one in kept if one is not None]
        _require_finite(trials)
        run = RunFolder(self.out)
        run.heads.mkdir(exist_ok=True)
        best = min(trials, key=lambda one: (one["best"]["validation_loss"], one["trial"]))
        name = self.experiment.name
        history = [{"experiment": name, "trial": one["trial"], **epoch}
                   for one in trials for epoch in one["history"]]  # fmt: skip
        write_table(pa.Table.from_pylist(history, schema=HISTORY_SCHEMA),
                          run.head_history(name))  # fmt: skip
        # Copied: who is stopped before the trials are written finds all of it here again.
        new = run.heads / f".{name}.tmp.keras"
        shutil.copyfile(self._partial / f"{best['trial']:06d}.keras", new)
        new.replace(run.head_of(name))
        sizes = {"images_fitted": best["fitted"], "images_validated": best["validated"]}
        chosen = {"trial": best["trial"], "by": "least validation loss", **sizes, **best["best"]}
        write_json({**card, **best["details"], "chosen": chosen}, run.head_card(name))
        TrialStore(self.out, self.experiment).assemble()

    @property
    def _partial(self) -> Path:
        return RunFolder(self.out).trials_partial / self.experiment.fingerprint[:16]


def _require_finite(trials: list[dict[str, Any]]) -> None:
    """See that each trial has a head that has learned: its figures would be of the start's."""
    lost = [one["trial"] for one in trials if not math.isfinite(one["best"]["validation_loss"])]
    if lost:
        raise UserError(
            "No epoch gave a finite validation loss in trial "
            f"{', '.join(map(str, lost))}: the weights have run away, so there is no head. The "
            "features may be very large: `fer-ray search-heads` tries standardised ones and lower "
            "learning rates."
        )


def head_result(
    training: HeadTraining, samples: Samples, split: Split, inner: Split, started: float
) -> TrialResult:
    """The figures of a trained head; training ones are of the fitted images.

    `n_train` counts the validation images, too: they choose the epoch, so they are no test images.
    """
    rows = np.concatenate([inner.train, split.test])
    probabilities = training.probabilities(samples.features[rows].astype(np.float32))
    seconds = time.perf_counter() - started
    result = trial_result(samples.labels[rows], probabilities, len(inner.train), seconds)
    return replace(result, figures={**result.figures, "n_train": len(split.train)})


@dataclass(frozen=True)
class HeadTrials:
    """All that a worker needs to do trials of a head; called with one's number, it does it.

    Attributes:
        experiment: What a trial is of.
        samples: Features as they are.
        draws: Augmented ones (draws, n, width) of the same images; None: none.
        out: Run folder, the same on every node.
    """

    experiment: HeadExperiment
    samples: Samples
    draws: Floats | None
    out: Path

    def __call__(self, trial: int) -> None:
        """Do one trial and keep it."""
        load_keras(threads=1)  # once a process: no trial's time
        started = time.perf_counter()
        one, split = self.experiment, self.experiment.splits[trial]
        inner = validation_split(
            self.samples, split.train, one.protocol, one.settings.validation_share, one.seed, trial
        )
        data = head_data(self.samples, self.draws, inner)
        training = train_head(one.settings, data, one.seed * 1_000 + trial)
        head = {"head": one.settings.model_dump(mode="json")}
        HeadStore(self.out, one).keep(trial, training, self.samples, split, inner, started, head)


def head_card(
    experiment: Experiment,
    samples: Samples,
    backbones: dict[str, dict[str, Any]],
    drawn: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What must be known to use a saved head; its settings and figures are added to it.

    Args:
        experiment: Whose head it is.
        samples: What it was trained and tested on.
        backbones: Records of the features that it stands on, by backbone.
        drawn: Record of the augmented ones that it is trained on. None: none.
    """
    told = ("weights", "draws", "drawn", "augmentation")
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
        "augmented": drawn and {part: drawn[part] for part in told},
        "figures": {},
    }
