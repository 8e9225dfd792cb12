"""Search for heads: compare configurations on validation images, repeat finalists, test one.

Each trial has its own search within its training part. Only the selected head sees test images.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_ray.evaluation.experiments.experiment import (
    Experiment,
    changed_settings,
    experiment_name,
    splitting_settings,
)
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.evaluation.experiments.trial_store import TrialStore
from fer_ray.evaluation.protocols.folds import Folds
from fer_ray.evaluation.protocols.splits import Split
from fer_ray.networks.heads.head import HeadTraining, train_head
from fer_ray.networks.heads.head_data import Floats, HeadData, head_data, validation_split
from fer_ray.networks.heads.head_run import HeadRun
from fer_ray.networks.heads.head_space import Configuration, head_settings
from fer_ray.networks.heads.head_trials import HeadStore, head_fingerprint
from fer_ray.networks.keras_backend import load_keras
from fer_ray.settings.networks import HeadSearchSettings, HeadSettings
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.run_folder import RunFolder


@dataclass(frozen=True)
class HeadSearchExperiment(Experiment):
    """An experiment that searches its head within the training part of each trial."""

    settings: HeadSearchSettings


def plan_head_search(
    settings: HeadSearchSettings, feature_set: str, splitting: TrialSettings, folds: Folds,
    frames_key: str,
) -> HeadSearchExperiment:  # fmt: skip
    """Describe a search for heads as an experiment; arguments as for `head_trials.plan_heads`."""
    reference = HeadSearchSettings()
    own = [f"{field}={getattr(settings, field)}" for field in HeadSearchSettings.model_fields
           if getattr(settings, field) != getattr(reference, field)]  # fmt: skip
    split = changed_settings(splitting, {"classes", *splitting_settings(folds, seeded=True)})
    content = settings.model_dump(mode="json")
    key = head_fingerprint({"search": content}, feature_set, splitting, folds, frames_key)
    return HeadSearchExperiment(
        name=experiment_name(["head-search", feature_set, folds.protocol, *split, *own], key),
        fingerprint=key,
        classifier="head-search",
        feature_set=feature_set,
        protocol=folds.protocol,
        seed=splitting.seed,
        splits=folds.splits,
        leakage=folds.leakage,
        fit_settings={"head_search": content, "classes": splitting.classes},
        settings=settings,
    )


@dataclass(frozen=True)
class TrialSearch:
    """The search of one trial. Call it with a configuration to start its training.

    Attributes:
        experiment: The experiment.
        trial: Number of the trial.
        samples: Samples of the experiment.
        draws: Augmented features (draws, n, width) of the same images, or None.
        out: Run folder, the same path on every node.
    """

    experiment: HeadSearchExperiment
    trial: int
    samples: Samples
    draws: Floats | None
    out: Path

    def __call__(self, configuration: Configuration, log_name: str) -> "HeadRun":
        """Start training a configuration, logged for TensorBoard under `log_name`."""
        logs = RunFolder(self.out).head_logs(self.experiment.name)
        folder = logs / f"trial-{self.trial:03d}" / log_name
        return HeadRun(configuration, self.data(), self.seed(0), folder)

    def split(self) -> Split:
        """Training and test images."""
        return self.experiment.splits[self.trial]

    def inner(self) -> Split:
        """Images to fit and images to validate on."""
        share = HeadSettings().validation_share
        protocol, seed = self.experiment.protocol, self.experiment.seed
        return validation_split(self.samples, self.split().train, protocol, share, seed, self.trial)

    def data(self) -> HeadData:
        """Features and labels of the inner split."""
        return head_data(self.samples, self.draws, self.inner())

    def seed(self, repeat: int) -> int:
        """Seed of a head's initial weights and batches."""
        return self.experiment.seed * 1_000_000 + self.trial * 1_000 + repeat

    def write_result(self, result: dict[str, Any]) -> None:
        """Store the result of a configuration."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_json({"configurations": [*self.results(), result]}, self._file)

    def results(self) -> list[dict[str, Any]]:
        """Results of the configurations so far, including those of a job that was stopped.

        A loss of None means that it was not finite.
        """
        stored = read_json(self._file) or {"configurations": []}
        first: dict[str, dict[str, Any]] = {}
        for result in stored["configurations"]:
            first.setdefault(json.dumps(result["configuration"], sort_keys=True), result)
        return list(first.values())

    @property
    def _file(self) -> Path:
        folder = RunFolder(self.out).trials_partial / self.experiment.fingerprint[:16]
        return folder / f"search-{self.trial:06d}.json"


@dataclass(frozen=True)
class HeadSelection:
    """Selection of heads, for a worker: call it with a trial whose configurations are compared.

    It repeats the finalists with other seeds, selects one and tests it.

    Attributes:
        experiment: The experiment.
        samples: Plain features.
        draws: Augmented features (draws, n, width) of the same images, or None.
        out: Run folder, the same path on every node.
    """

    experiment: HeadSearchExperiment
    samples: Samples
    draws: Floats | None
    out: Path

    def __call__(self, trial: int) -> None:
        """Select the head of one trial, test it and store the result."""
        load_keras(threads=1)  # before the clock starts: it happens once per process
        search = self.trial_search(trial)
        results = search.results()
        # Comparing the configurations is part of the cost of the trial.
        started = time.perf_counter() - sum(result.get("seconds", 0) for result in results)
        finalists = [result["configuration"] for result in self._best(results)]
        data = search.data()
        repeats = [self._repeat(search, data, configuration) for configuration in finalists]
        selected = int(np.argmin([np.mean(_losses(heads)) for heads in repeats]))
        heads = repeats[selected]
        head = heads[int(np.argmin(_losses(heads)))]
        details = {
            "head": finalists[selected],
            "finalists": [{"configuration": configuration, "validation_losses": _losses(heads)}
                          for configuration, heads in zip(finalists, repeats, strict=True)],
        }  # fmt: skip
        HeadStore(self.out, self.experiment).write_trial(
            trial, head, self.samples, search.split(), search.inner(), started, details
        )

    def trial_search(self, trial: int) -> TrialSearch:
        """The search of one trial."""
        return TrialSearch(self.experiment, trial, self.samples, self.draws, self.out)

    def missing(self) -> list[int]:
        """Trials without a result."""
        return TrialStore(self.out, self.experiment).missing()

    def assemble(self, card: dict[str, Any]) -> None:
        """Write the results of all configurations, then the head, its card and the trials."""
        trials = range(len(self.experiment.splits))
        results = {str(trial): self.trial_search(trial).results() for trial in trials}
        run = RunFolder(self.out)
        run.heads.mkdir(exist_ok=True)
        write_json({"settings": self.experiment.settings.model_dump(), "trials": results},
                   run.head_candidates(self.experiment.name))  # fmt: skip
        HeadStore(self.out, self.experiment).assemble(card)

    def _best(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        def loss(result: dict[str, Any]) -> float:
            return math.inf if result["loss"] is None else float(result["loss"])

        return sorted(results, key=loss)[: self.experiment.settings.finalists]

    def _repeat(
        self, search: TrialSearch, data: HeadData, configuration: Configuration
    ) -> list[HeadTraining]:
        seeds = [search.seed(repeat) for repeat in range(self.experiment.settings.repeats)]
        return [train_head(head_settings(configuration), data, seed) for seed in seeds]


def _losses(heads: list[HeadTraining]) -> list[float]:
    return [head.best["validation_loss"] for head in heads]
