"""The occlusion map of the best model on a network, computed once and stored in the run folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment_groups import group_experiments
from fer_ray.evaluation.experiments.results import ExperimentResults, read_experiments
from fer_ray.evaluation.experiments.samples import Samples, read_samples, select_classes
from fer_ray.execution.progress import step
from fer_ray.faces.crops import recrop
from fer_ray.features.bottleneck_features import read_records, trained_record
from fer_ray.models.augmented_copies import training_copies
from fer_ray.models.bundles.keras_heads import KerasHead, load_head
from fer_ray.models.linear_evidence import select_rows
from fer_ray.models.occlusion import PASSES, OcclusionMap, mean_drops, occlusion_drops
from fer_ray.models.penalty import with_chosen_penalty
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.networks.bottleneck.bottleneck_plan import BottleneckPlan, plan_bottleneck
from fer_ray.networks.bottleneck.bottleneck_rows import load_backbone
from fer_ray.networks.network import Backbone
from fer_ray.settings.backbones import backbone_of_record
from fer_ray.settings.base import fingerprint
from fer_ray.settings.feature_sets import backbones_of, needs_sequence, sets_of, widths_of
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder, frames_record
from fer_ray.vocabulary import N_LANDMARKS

MIN_IMAGES, MAX_IMAGES = 2, 6  # test images of each class

Model = KerasHead | TemperatureSvm
Row = dict[str, Any]  # a row of frames, by column


def occlusion_map(out: Path, root: Path | None) -> OcclusionMap | str | None:
    """Compute the occlusion map of the best model on a network in the report's first group.

    It is stored in the run folder and computed again only if the model or the network changes. It
    needs about two passes of the network for each image of the run, and at most 1,248.

    Args:
        out: Run folder, locked by the caller.
        root: Folder of the images; None if it is gone.

    Returns:
        None if no such model exists; the reason if its map cannot be computed, as a sentence.
    """
    if not read_records(out):
        return None
    groups = group_experiments(read_experiments(out))
    item = next((one for group in groups[:1] for one in group.models if _can_map(out, one)), None)
    if item is None:
        return None
    try:
        return _stored_or_computed(out, root, item)
    except UserError as problem:  # for example, the weights have been moved
        return str(problem)


def _stored_or_computed(out: Path, root: Path | None, item: ExperimentResults) -> OcclusionMap:
    plans, file = _plan_backbones(out, item), RunFolder(out).occlusion_map(item.name)
    content = {
        "trials": item.trials["fingerprint"].iloc[0],
        "backbones": [plan.key for plan in plans],
        "passes": PASSES,
        "images": [MIN_IMAGES, MAX_IMAGES],
    }
    key, stored = fingerprint(content), read_json(file)
    if stored is None or stored.get("key") != key:
        stored = {"key": key, **_compute(out, root, item, plans).to_record()}
        file.parent.mkdir(exist_ok=True)
        write_json(stored, file)
    return OcclusionMap.from_record(stored)


def _can_map(out: Path, item: ExperimentResults) -> bool:
    """Return whether an experiment has a model on a network that predicts single images."""
    summary = item.summary
    if not backbones_of(summary.feature_set) or needs_sequence(summary.feature_set):
        return False
    is_svm = summary.classifier.startswith("svm-") and "settings" in item.fit_settings
    return is_svm or RunFolder(out).head_of(item.name).is_file()


def _plan_backbones(out: Path, item: ExperimentResults) -> list[BottleneckPlan]:
    """The backbones with the weights that the features come from.

    Raises:
        UserError: Weights are missing, or differ.
    """
    plans = []
    for name in backbones_of(item.summary.feature_set):
        record = trained_record(out, name)
        spec, weights = backbone_of_record(name, record["network"]), record["weights"]
        plan = plan_bottleneck(frames_record(out), spec, weights["file"])
        if plan.weights.sha256 != weights["sha256"]:
            raise UserError(
                f"{weights['file']} has changed since the features of {name} were computed."
            )
        plans.append(plan)
    return plans


def _compute(
    out: Path, root: Path | None, item: ExperimentResults, plans: Sequence[BottleneckPlan]
) -> OcclusionMap:
    if root is None:
        raise UserError("The images are no longer available. Pass their folder with --data.")
    samples = read_samples(RunFolder(out).frames, item.summary.feature_set)
    samples = select_classes(samples, item.fit_settings.get("classes") or _settings(item).classes)
    backbones = {plan.name: load_backbone(plan, None, 0) for plan in plans}
    model, trial = _model_of_trial(out, item, samples)
    tested = item.predictions[item.predictions["trial"] == trial]
    chosen = _choose_images(tested, len(samples.labels))
    frames = _read_frames(out, chosen["image_id"].tolist())
    drops: list[NDArray[np.float64]] = []
    with step("occlusion", "images", len(chosen)) as advance:
        for image_id, label in zip(chosen["image_id"], chosen["label"], strict=True):
            row = frames[image_id]
            crop = _crop(row, root, plans[0])
            features = samples.features[samples.image_ids.index(image_id)]
            predict = PredictCrops(model, backbones, item.summary.feature_set, features)
            drops.append(occlusion_drops(predict, crop, _landmarks_xy(row), int(label)))
            advance(1)
    return OcclusionMap(item.name, len(drops), mean_drops(chosen["label"].tolist(), drops))


def _crop(row: Row, root: Path, plan: BottleneckPlan) -> NDArray[np.uint8]:
    try:
        return recrop(row, root, plan.decode, plan.crop_px)
    except ValueError as problem:
        raise UserError(
            f"{root / row['path']} differs from the extracted image ({problem})."
        ) from None


@dataclass(frozen=True)
class PredictCrops:
    """A model on networks, from crops of one face to class probabilities.

    Features that no network computes are those of the original image.

    Attributes:
        model: The fitted head or SVM.
        backbones: The networks, by name.
        feature_set: Name of the model's feature set.
        features: Features of the original image (width,).
    """

    model: Model
    backbones: dict[str, Backbone]
    feature_set: str
    features: NDArray[np.float64]

    def __call__(
        self, crops: NDArray[np.uint8], landmarks_xy: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Compute probabilities (n, 8) of crops (n, size, size) with landmarks (68, 2)."""
        points = np.repeat(landmarks_xy[None].astype(np.float32), len(crops), axis=0)
        widths = widths_of(self.feature_set, len(self.features))
        known = np.split(self.features, np.cumsum(widths)[:-1])
        parts = [
            self.backbones[name](crops, points) if name in self.backbones
            else np.repeat(part[None], len(crops), axis=0)
            for name, part in zip(sets_of(self.feature_set), known, strict=True)
        ]  # fmt: skip
        return self.model.probabilities(np.hstack(parts).astype(np.float64))


def _model_of_trial(out: Path, item: ExperimentResults, samples: Samples) -> tuple[Model, int]:
    """A model that has not seen the test images of one trial, and the number of that trial."""
    run = RunFolder(out)
    if not item.summary.classifier.startswith("svm-"):
        card, file = read_json(run.head_card(item.name)), run.head_of(item.name)
        if card is None:
            raise UserError(
                f"{run.head_card(item.name)} does not exist. Run `fer-ray heads` again."
            )
        head = load_head(file.read_bytes(), str(file), tuple(card["labels"]))
        return head, int(card["chosen"]["trial"])
    trial = int(item.trials["trial"].iloc[0])
    tested = set(item.predictions.loc[item.predictions["trial"] == trial, "image_id"])
    train = np.array([row for row, name in enumerate(samples.image_ids) if name not in tested])
    train = train[select_rows(samples.labels[train])]
    settings = _settings(item)
    copies = training_copies(out, samples, settings)
    settings = with_chosen_penalty(settings, samples, train, copies)
    svm = TemperatureSvm(item.fit_settings["kernel"], settings)
    return svm.fit(samples, train, copies), trial


def _settings(item: ExperimentResults) -> TrialSettings:
    return TrialSettings.model_validate(item.fit_settings["settings"])


def _choose_images(tested: pd.DataFrame, n_images: int) -> pd.DataFrame:
    """Test images that were predicted correctly, evenly spaced within each class."""
    tested = tested.sort_values("image_id", ignore_index=True)
    correct = tested[tested["label"] == tested["predicted"]]
    passes = PASSES * max(1, tested["label"].nunique())
    limit = min(MAX_IMAGES, max(MIN_IMAGES, 2 * n_images // passes))
    parts = [
        rows.iloc[np.unique(np.linspace(0, len(rows) - 1, limit).round().astype(int))]
        for _, rows in correct.groupby("label")
    ]
    if not parts:
        raise UserError("The model predicts none of its test images correctly.")
    return pd.concat(parts)


def _read_frames(out: Path, image_ids: list[str]) -> dict[str, Row]:
    columns = ["image_id", "path", "sha256", "box_xywh", "crop_angle", "landmarks_xy"]
    table = read_table(
        RunFolder(out).frames, columns=columns, filters=[("image_id", "in", image_ids)]
    )
    return {row["image_id"]: row for row in table.to_pylist()}


def _landmarks_xy(row: Row) -> NDArray[np.float64]:
    return np.asarray(row["landmarks_xy"], dtype=float).reshape(N_LANDMARKS, 2)
