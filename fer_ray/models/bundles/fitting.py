"""The model of an experiment for a bundle: an SVM fitted on all images, or a saved network head."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.results import ExperimentResults
from fer_ray.evaluation.experiments.samples import Samples, read_samples, select_classes
from fer_ray.models.augmented_copies import training_copies
from fer_ray.models.bundles.bundle_manifest import Confidence, SavedModel
from fer_ray.models.bundles.confidence_fitting import confidence_of_head, confidence_of_svm
from fer_ray.models.bundles.keras_heads import KerasHead, load_head
from fer_ray.models.bundles.skops_files import dump_estimator
from fer_ray.models.nested_search import selected_configurations
from fer_ray.models.penalty import with_chosen_penalty
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.settings.feature_sets import needs_sequence
from fer_ray.settings.training import Kernel, TrialSettings
from fer_ray.storage.files import read_json
from fer_ray.storage.run_folder import RunFolder

SVM_FILE, HEAD_FILE = "model.skops", "model.keras"
SEARCHED = "search"  # classifier of the experiment of a nested search
SVM_PARAMETERS = (
    *("scale", "set_weights", "C", "gamma", "degree", "tol"),
    *("class_weight", "mirror", "augment"),
)


@dataclass(frozen=True)
class FittedModel:
    """A model and what it was fitted on.

    Attributes:
        kind: `svm` or `head`.
        saved: Its description in `bundle.json`.
        content: Bytes of its file.
        model: The model in memory.
        labels: Emotions that it predicts.
        samples: The images that were used in any part of its training.
        confidence: How its scores become probabilities and prediction sets.
        how: What it was fitted on, in words.
    """

    kind: Literal["svm", "head"]
    saved: SavedModel
    content: bytes
    model: TemperatureSvm | KerasHead
    labels: tuple[str, ...]
    samples: Samples
    confidence: Confidence
    how: str


def can_bundle(out: Path, item: ExperimentResults) -> bool:
    """Return whether an experiment has a model that predicts single images.

    A delta needs a sequence, and only the SVMs that a search selected can be bundled.
    """
    summary = item.summary
    if needs_sequence(summary.feature_set):
        return False
    if summary.classifier == SEARCHED:
        return bool(_selected_svms(out, summary.experiment))
    is_svm = summary.classifier.startswith("svm-")
    return is_svm or RunFolder(out).head_of(summary.experiment).is_file()


def fit_model(out: Path, item: ExperimentResults) -> FittedModel:
    """Fit or load the model of an experiment for which `can_bundle` is true.

    Raises:
        UserError: The run folder does not contain what is needed.
    """
    classifier = item.summary.classifier
    if classifier == SEARCHED:
        return _fit_selected_svm(out, item)
    return _fit_svm(out, item) if classifier.startswith("svm-") else _load_head(out, item)


def _fit_svm(out: Path, item: ExperimentResults) -> FittedModel:
    fit_settings = _fit_settings(item)
    settings = TrialSettings.model_validate(fit_settings["settings"])
    frames = RunFolder(out).frames
    samples = select_classes(read_samples(frames, settings.feature_set), settings.classes)
    copies = training_copies(out, samples, settings)
    settings = with_chosen_penalty(settings, samples, np.arange(len(samples.labels)), copies)
    return _svm(fit_settings["kernel"], settings, samples, "", copies)


def _svm(
    kernel: Kernel,
    settings: TrialSettings,
    samples: Samples,
    origin: str,
    copies: NDArray[np.float64] | None = None,
) -> FittedModel:
    model = TemperatureSvm(kernel, settings).fit(samples, np.arange(len(samples.labels)), copies)
    values = settings.model_dump(mode="json")  # as bundle.json has them
    saved = SavedModel(
        file=SVM_FILE,
        classifier=f"svm-{kernel}",
        feature_set=settings.feature_set,
        parameters={name: values[name] for name in SVM_PARAMETERS},
    )
    how = f"{origin}fitted on all {len(samples.labels)} of them"
    content, confidence = dump_estimator(model.estimator), confidence_of_svm(model, samples)
    return FittedModel("svm", saved, content, model, model.classes, samples, confidence, how)


def _fit_selected_svm(out: Path, item: ExperimentResults) -> FittedModel:
    """Fit the SVM that a search selected most often, or with the best inner accuracy among ties.

    A search predicts with the selection of each trial, and several configurations may vote. Its
    figures are therefore those of the search and not of this SVM.
    """
    selected = _selected_svms(out, item.name)
    times = Counter(_key(row) for row in selected)
    best = max(selected, key=lambda row: (times[_key(row)], row["inner_accuracy"]))
    classes = _fit_settings(item)["classes"]
    samples = select_classes(read_samples(RunFolder(out).frames, best["feature_set"]), classes)
    origin = (
        f"{best['classifier']} as the search selected it in {times[_key(best)]} of its trials (the "
        "figures are those of the entire search), "
    )
    kernel: Kernel = "rbf" if best["classifier"] == "svm-rbf" else "linear"
    settings = equivalent_svm_settings(best, samples.features.shape[1])
    return _svm(kernel, settings, samples, origin, training_copies(out, samples, settings))


def equivalent_svm_settings(selected: dict[str, Any], width: int) -> TrialSettings:
    """Convert the parameters of a searched SVM to those of an SVM on weighted standard scores.

    A search also divides features by the square root of their number (`PreparedFeatures`), so its
    inner products and squared distances are smaller by a factor of `width`. A linear SVM is then
    equivalent with C / width, and an RBF SVM with γ / width.

    Args:
        selected: `feature_set` and `parameters` of the configuration.
        width: Number of features.
    """
    parameters = selected["parameters"]
    penalty, gamma = parameters["C"], parameters.get("gamma")
    content = {
        "feature_set": selected["feature_set"],
        "scale": "equal",
        "set_weights": parameters.get("set_weights", ()),
        "class_weight": "balanced" if parameters.get("balanced") else "none",
        "mirror": bool(parameters.get("mirror")),
    }
    if gamma is None:
        return TrialSettings.model_validate({**content, "C": penalty / width})
    return TrialSettings.model_validate({**content, "C": penalty, "gamma": gamma / width})


def _selected_svms(out: Path, experiment: str) -> list[dict[str, Any]]:
    """The selected configurations that are SVMs on features of single images."""
    return [
        row
        for row in selected_configurations(out, experiment)
        if row["classifier"].startswith("svm-") and not needs_sequence(row["feature_set"])
    ]


def _key(row: dict[str, Any]) -> str:
    return json.dumps([row[name] for name in ("classifier", "feature_set", "parameters")])


def _fit_settings(item: ExperimentResults) -> dict[str, Any]:
    if "classes" not in item.fit_settings.get("settings", item.fit_settings):
        raise UserError(
            f"The trials of {item.name} do not contain their settings: an earlier version of "
            "fer_ray wrote them. Remove the experiment's file in trials/ and run the trials again."
        )
    return item.fit_settings


def _load_head(out: Path, item: ExperimentResults) -> FittedModel:
    """Load the saved head. A new fit would need validation images to select its epoch."""
    name = item.summary.experiment
    file, card_file = RunFolder(out).head_of(name), RunFolder(out).head_card(name)
    card = read_json(card_file)
    if card is None:
        raise UserError(f"{card_file} does not exist. Run `fer-ray heads` again.")
    classes = _fit_settings(item)["classes"]
    samples = select_classes(read_samples(RunFolder(out).frames, card["feature_set"]), classes)
    chosen = card["chosen"]
    saved = SavedModel(
        file=HEAD_FILE,
        classifier=item.summary.classifier,
        feature_set=card["feature_set"],
        parameters=card["head"],
    )
    how = (
        f"the head of trial {chosen['trial']}, selected by {chosen['by']}: fitted on "
        f"{chosen['images_fitted']} and validated on {chosen['images_validated']} of them"
    )
    content = file.read_bytes()
    labels = tuple(card["labels"])
    model = load_head(content, str(file), labels)
    confidence = confidence_of_head(item)
    return FittedModel("head", saved, content, model, labels, samples, confidence, how)
