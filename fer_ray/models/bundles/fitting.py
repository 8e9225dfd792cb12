"""The model that a bundle takes of an experiment: an SVM fitted anew, or the head that was kept."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.results import ExperimentResults
from fer_ray.evaluation.samples import Samples, of_classes, read_samples
from fer_ray.models import nested_search
from fer_ray.models.augmented_copies import changed_copies
from fer_ray.models.bundles.bundle import Model
from fer_ray.models.bundles.estimators import dump_estimator
from fer_ray.models.bundles.keras_heads import KerasHead, load_head
from fer_ray.models.svm import CalibratedSvm
from fer_ray.settings.feature_sets import needs_sequence
from fer_ray.settings.training import Kernel, TrialSettings
from fer_ray.storage.files import read_json
from fer_ray.storage.run_folder import RunFolder, frames_record

SVM_FILE, HEAD_FILE = "model.skops", "model.keras"
SEARCHED = "search"  # classifier of a search's experiment
SVM_PARAMETERS = ("scale", "C", "gamma", "degree", "tol", "augment")


@dataclass(frozen=True)
class Fitted:
    """A model and what it was fitted on.

    Attributes:
        kind: `svm` or `head`.
        saved: What `bundle.json` says of it.
        content: Its file.
        model: It, in memory.
        labels: Emotions that it answers with.
        samples: The images that any part of its making has seen.
        how: In words, what it was fitted on.
    """

    kind: Literal["svm", "head"]
    saved: Model
    content: bytes
    model: CalibratedSvm | KerasHead
    labels: tuple[str, ...]
    samples: Samples
    how: str


def can_fit(out: Path, item: ExperimentResults) -> bool:
    """Whether a bundle can be made of an experiment; one image alone has no delta."""
    made = item.summary
    if needs_sequence(made.feature_set):
        return False
    if made.classifier == SEARCHED:
        return bool(_winners(out, made.experiment))
    return made.classifier.startswith("svm-") or _head_file(out, made.experiment).is_file()


def fit(out: Path, item: ExperimentResults) -> Fitted:
    """The model of an experiment for which `can_fit` holds.

    Raises:
        UserError: What it takes is not in the run folder.
    """
    classifier = item.summary.classifier
    if classifier == SEARCHED:
        return _searched(out, item)
    return _trials(out, item) if classifier.startswith("svm-") else _head(out, item)


def _trials(out: Path, item: ExperimentResults) -> Fitted:
    recipe = _recipe(item)
    settings = TrialSettings.model_validate(recipe["settings"])
    samples = of_classes(
        read_samples(RunFolder(out).frames, settings.feature_set), settings.classes
    )
    copies = None
    if settings.augment:
        crop_px = frames_record(out)["settings"]["crop"]["size_px"]
        copies = changed_copies(RunFolder(out).frames, samples, settings, crop_px)
    return _svm(recipe["kernel"], settings, samples, "", copies)


def _svm(
    kernel: Kernel,
    settings: TrialSettings,
    samples: Samples,
    why: str,
    copies: NDArray[np.float64] | None = None,
) -> Fitted:
    model = CalibratedSvm(kernel, settings).fit(samples.features, samples.labels, copies)
    saved = Model(
        file=SVM_FILE,
        classifier=f"svm-{kernel}",
        feature_set=settings.feature_set,
        parameters={name: getattr(settings, name) for name in SVM_PARAMETERS},
    )
    how = f"{why}fitted on all {len(samples.labels)} of them"
    content = dump_estimator(model.calibrated)
    return Fitted("svm", saved, content, model, model.classes, samples, how)


def _searched(out: Path, item: ExperimentResults) -> Fitted:
    """The SVM that a search chose most often; of equals the one with the best inner accuracy.

    A search answers with its choice of each trial, and several may vote: its figures are those of
    the search, not of this one.
    """
    chosen = _winners(out, item.name)
    times = Counter(_key(one) for one in chosen)
    best = max(chosen, key=lambda one: (times[_key(one)], one["inner_accuracy"]))
    classes = _recipe(item)["classes"]
    samples = of_classes(read_samples(RunFolder(out).frames, best["feature_set"]), classes)
    why = (
        f"{best['classifier']} as the search chose it in {times[_key(best)]} of its trials (the "
        "figures are those of the whole search), "
    )
    kernel: Kernel = "rbf" if best["classifier"] == "svm-rbf" else "linear"
    settings = settings_of_space(best, samples.features.shape[1])
    return _svm(kernel, settings, samples, why)


def settings_of_space(chosen: dict[str, Any], width: int) -> TrialSettings:
    """The settings that make of weighted standard scores the SVM that a search fitted in its space.

    There they are divided by the root of their number: inner products and squared distances are
    smaller by `width`. A linear SVM is then the same with C / width, an RBF one with γ / width.
    """
    penalty, gamma = chosen["parameters"]["C"], chosen["parameters"].get("gamma")
    content = {"feature_set": chosen["feature_set"], "scale": "equal"}
    if gamma is None:
        return TrialSettings.model_validate({**content, "C": penalty / width})
    return TrialSettings.model_validate({**content, "C": penalty, "gamma": gamma / width})


def _winners(out: Path, experiment: str) -> list[dict[str, Any]]:
    """What a search chose in its trials, SVMs on features of single images alone."""
    found = nested_search.chosen(out, experiment)
    return [
        one
        for one in found
        if one["classifier"].startswith("svm-") and not needs_sequence(one["feature_set"])
    ]


def _key(chosen: dict[str, Any]) -> str:
    return json.dumps([chosen[name] for name in ("classifier", "feature_set", "parameters")])


def _recipe(item: ExperimentResults) -> dict[str, Any]:
    if "classes" not in item.recipe.get("settings", item.recipe):
        raise UserError(
            f"The trials of {item.name} were written by a version of fer_ray that did not store "
            "their settings. Remove the experiment's file in trials/ and run the trials again."
        )
    return item.recipe


def _head(out: Path, item: ExperimentResults) -> Fitted:
    """The head that was kept; a new fit would need validation images to choose its epoch by."""
    file = _head_file(out, item.summary.experiment)
    card = read_json(file.with_suffix(".json"))
    if card is None:
        raise UserError(f"The card of {file} is gone: run `fer-ray heads` again.")
    classes = _recipe(item)["classes"]
    samples = of_classes(read_samples(RunFolder(out).frames, card["feature_set"]), classes)
    chosen = card["chosen"]
    saved = Model(
        file=HEAD_FILE,
        classifier=item.summary.classifier,
        feature_set=card["feature_set"],
        parameters=card["head"],
    )
    how = (
        f"the head of trial {chosen['trial']}, chosen by {chosen['by']}: fitted on "
        f"{chosen['images_fitted']} and validated on {chosen['images_validated']} of them"
    )
    content = file.read_bytes()
    labels = tuple(card["labels"])
    model = load_head(content, str(file), labels)
    return Fitted("head", saved, content, model, labels, samples, how)


def _head_file(out: Path, experiment: str) -> Path:
    return RunFolder(out).head_of(experiment)
