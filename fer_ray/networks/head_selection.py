"""A search of heads: raced on validation images, finalists repeated, one of them tested. No Ray.

Each trial has its own search, inside its training part. The test images of a trial meet one head:
the one that was chosen.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_ray.evaluation.experiment import Experiment, differences, file_name, splitting_settings
from fer_ray.evaluation.folds import Folds
from fer_ray.evaluation.samples import Samples
from fer_ray.evaluation.splits import Split
from fer_ray.evaluation.trial_store import TrialStore
from fer_ray.networks.head import HeadTraining, train_head
from fer_ray.networks.head_data import Floats, HeadData, head_data, validation_split
from fer_ray.networks.head_space import Configuration, head_settings
from fer_ray.networks.head_trials import HeadStore, head_fingerprint
from fer_ray.networks.keras_backend import load_keras
from fer_ray.settings.networks import HeadSearchSettings, HeadSettings
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.run_folder import RunFolder

STEP_EPOCHS = 5  # between two looks at whether a configuration falls behind


@dataclass(frozen=True)
class HeadSearchExperiment(Experiment):
    """An experiment whose head is searched anew, inside the training part of each trial."""

    settings: HeadSearchSettings


def plan_head_search(
    settings: HeadSearchSettings, feature_set: str, splitting: TrialSettings, folds: Folds,
    frames_key: str,
) -> HeadSearchExperiment:  # fmt: skip
    """The experiment that a search of heads is; arguments as of `heads.plan_heads`."""
    reference = HeadSearchSettings()
    own = [f"{field}={getattr(settings, field)}" for field in HeadSearchSettings.model_fields
           if getattr(settings, field) != getattr(reference, field)]  # fmt: skip
    split = differences(splitting, {"classes", *splitting_settings(folds, seeded=True)})
    content = settings.model_dump(mode="json")
    key = head_fingerprint({"search": content}, feature_set, splitting, folds, frames_key)
    return HeadSearchExperiment(
        name=file_name(["head-search", feature_set, folds.protocol, *split, *own], key),
        fingerprint=key,
        classifier="head-search",
        feature_set=feature_set,
        protocol=folds.protocol,
        seed=splitting.seed,
        splits=folds.splits,
        leakage=folds.leakage,
        recipe={"head_search": content, "classes": splitting.classes},
        settings=settings,
    )


@dataclass(frozen=True)
class TrialSearch:
    """The search of one trial; called with a configuration, it begins to train it.

    Attributes:
        experiment: What it is part of.
        trial: Its number.
        samples: Of the whole experiment.
        draws: Augmented features (draws, n, width) of the same images; None: none.
        out: Run folder, the same on every node.
    """

    experiment: HeadSearchExperiment
    trial: int
    samples: Samples
    draws: Floats | None
    out: Path

    def __call__(self, configuration: Configuration, name: str) -> "HeadRun":
        """Begin with a configuration; `name` is that of its TensorBoard log."""
        logs = RunFolder(self.out).head_logs(self.experiment.name)
        place = logs / f"trial-{self.trial:03d}" / name
        return HeadRun(configuration, self.data(), self.seed(0), place)

    def split(self) -> Split:
        """Training and test images."""
        return self.experiment.splits[self.trial]

    def inner(self) -> Split:
        """What is fitted, and what validates."""
        share = HeadSettings().validation_share
        one = self.experiment
        return validation_split(
            self.samples, self.split().train, one.protocol, share, one.seed, self.trial
        )

    def data(self) -> HeadData:
        """Features and labels of both."""
        return head_data(self.samples, self.draws, self.inner())

    def seed(self, repeat: int) -> int:
        """Of a head's start and batches."""
        return self.experiment.seed * 1_000_000 + self.trial * 1_000 + repeat

    def keep(self, record: dict[str, Any]) -> None:
        """Keep what has become of a configuration."""
        done = self.done()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_json({"configurations": [*done, record]}, self._file)

    def done(self) -> list[dict[str, Any]]:
        """What has become of each configuration so far, also in a job that was stopped.

        A loss of None stands for one that was not finite.
        """
        kept = read_json(self._file) or {"configurations": []}
        first: dict[str, dict[str, Any]] = {}
        for one in kept["configurations"]:
            first.setdefault(json.dumps(one["configuration"], sort_keys=True), one)
        return list(first.values())

    @property
    def _file(self) -> Path:
        folder = RunFolder(self.out).trials_partial / self.experiment.fingerprint[:16]
        return folder / f"search-{self.trial:06d}.json"


class HeadRun:
    """One configuration in training, some epochs at a time, logged for TensorBoard."""

    def __init__(self, configuration: Configuration, data: HeadData, seed: int, logs: Path) -> None:
        from tensorboardX import SummaryWriter

        started = time.perf_counter()
        self._training = HeadTraining(head_settings(configuration), data, seed)
        self._writer = SummaryWriter(str(logs))
        self._writer.add_text("configuration", json.dumps(configuration, sort_keys=True))
        self._seconds = time.perf_counter() - started

    def advance(self) -> dict[str, Any]:
        """Train some more; the least validation loss so far, and what all of it has taken."""
        started = time.perf_counter()
        for _ in range(STEP_EPOCHS):
            if self._training.finished:
                break
            record = self._training.run_epoch()
            for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
                self._writer.add_scalar(name, record[name], int(record["epoch"]))
        self._writer.flush()
        self._seconds += time.perf_counter() - started
        return {
            "loss": self._training.best["validation_loss"],
            "epochs": len(self._training.history),
            "seconds": self._seconds,
            "done": self._training.finished,
        }


@dataclass(frozen=True)
class Answers:
    """Called with a trial whose race is over: repeats the finalists, and tests the one chosen."""

    experiment: HeadSearchExperiment
    samples: Samples
    draws: Floats | None
    out: Path

    def __call__(self, trial: int) -> None:
        """Answer for one trial and keep it."""
        load_keras(threads=1)  # once a process: no trial's time
        search = TrialSearch(self.experiment, trial, self.samples, self.draws, self.out)
        raced = search.done()
        # The race is part of what the trial's head has cost.
        started = time.perf_counter() - sum(one.get("seconds", 0) for one in raced)
        best = sorted(raced, key=lambda one: math.inf if one["loss"] is None else one["loss"])
        finalists = [one["configuration"] for one in best[: self.experiment.settings.finalists]]
        data = search.data()
        repeated = [self._repeat(search, data, one) for one in finalists]
        chosen = int(np.argmin([np.mean(_losses(one)) for one in repeated]))
        heads = repeated[chosen]
        head = heads[int(np.argmin(_losses(heads)))]
        details = {
            "head": finalists[chosen],
            "finalists": [{"configuration": one, "validation_losses": _losses(heads)}
                          for one, heads in zip(finalists, repeated, strict=True)],
        }  # fmt: skip
        HeadStore(self.out, self.experiment).keep(
            trial, head, self.samples, search.split(), search.inner(), started, details
        )

    def _repeat(
        self, search: TrialSearch, data: HeadData, configuration: Configuration
    ) -> list[HeadTraining]:
        seeds = [search.seed(repeat) for repeat in range(self.experiment.settings.repeats)]
        return [train_head(head_settings(configuration), data, seed) for seed in seeds]

    def assemble(self, card: dict[str, Any]) -> None:
        """Write what was searched, then the head, its card and the trials."""
        trials = range(len(self.experiment.splits))
        searched = {
            str(trial): TrialSearch(
                self.experiment, trial, self.samples, self.draws, self.out
            ).done()
            for trial in trials
        }
        run = RunFolder(self.out)
        run.heads.mkdir(exist_ok=True)
        write_json({"settings": self.experiment.settings.model_dump(), "trials": searched},
                   run.head_candidates(self.experiment.name))  # fmt: skip
        HeadStore(self.out, self.experiment).assemble(card)

    def missing(self) -> list[int]:
        """Trials that are not answered yet."""
        return TrialStore(self.out, self.experiment).missing()


def _losses(heads: list[HeadTraining]) -> list[float]:
    return [head.best["validation_loss"] for head in heads]
