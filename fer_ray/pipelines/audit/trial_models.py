"""The models of the trials of an experiment, to examine them on their test images."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.results import ExperimentResults
from fer_ray.evaluation.experiments.samples import Samples
from fer_ray.models.augmented_copies import training_copies
from fer_ray.models.bundles.keras_heads import KerasHead, load_head
from fer_ray.models.linear_evidence import select_rows
from fer_ray.models.penalty import with_chosen_penalty
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.settings.training import Classes, TrialSettings
from fer_ray.storage.files import read_json
from fer_ray.storage.run_folder import RunFolder

MAX_TRIALS = 5  # SVMs are fitted again for

Model = KerasHead | TemperatureSvm


class TrialModels:
    """The models of some trials: call it with the number of a trial.

    An SVM is fitted again when it is first needed. A head was stored for one trial only.

    Args:
        out: Run folder.
        item: The experiment.
        samples: Its images.

    Attributes:
        trials: Numbers of the trials that have a model.

    Raises:
        UserError: The record of the head is missing.
    """

    def __init__(self, out: Path, item: ExperimentResults, samples: Samples) -> None:
        self._out, self._item, self._samples = out, item, samples
        self.trials: list[int] = item.trials["trial"].tolist()[:MAX_TRIALS]
        self._fit: Callable[[int], Model] = cache(self._fit_svm)
        if not item.summary.classifier.startswith("svm-"):
            head, trial = _read_head(out, item)
            self.trials, self._fit = [trial], lambda _: head

    def __call__(self, trial: int) -> Model:
        """The model of a trial."""
        return self._fit(trial)

    def _fit_svm(self, trial: int) -> Model:
        item, samples = self._item, self._samples
        tested = set(item.predictions.loc[item.predictions["trial"] == trial, "image_id"])
        train = np.array([row for row, name in enumerate(samples.image_ids) if name not in tested])
        train = train[select_rows(samples.labels[train])]
        settings = _settings(item)
        copies = training_copies(self._out, samples, settings)
        settings = with_chosen_penalty(settings, samples, train, copies)
        return TemperatureSvm(item.fit_settings["kernel"], settings).fit(samples, train, copies)


def classes_of(item: ExperimentResults) -> Classes:
    """The classes that an experiment was trained on."""
    classes: Classes = item.fit_settings.get("classes") or _settings(item).classes
    return classes


def _read_head(out: Path, item: ExperimentResults) -> tuple[Model, int]:
    """The stored head, and the number of its trial."""
    run = RunFolder(out)
    card, file = read_json(run.head_card(item.name)), run.head_of(item.name)
    if card is None:
        raise UserError(f"{run.head_card(item.name)} does not exist. Run `fer-ray heads` again.")
    head = load_head(file.read_bytes(), str(file), tuple(card["labels"]))
    return head, int(card["chosen"]["trial"])


def _settings(item: ExperimentResults) -> TrialSettings:
    return TrialSettings.model_validate(item.fit_settings["settings"])
