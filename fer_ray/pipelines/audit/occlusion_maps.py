"""The occlusion map of the best model on a network, computed once and stored in the run folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment_groups import group_experiments
from fer_ray.evaluation.experiments.results import ExperimentResults, read_experiments
from fer_ray.evaluation.experiments.samples import read_samples, select_classes
from fer_ray.execution.progress import step
from fer_ray.faces.crops import recrop
from fer_ray.features.bottleneck_features import read_records, trained_record
from fer_ray.models.occlusion import PASSES, OcclusionMap, mean_drops, occlusion_drops
from fer_ray.networks.bottleneck.bottleneck_plan import BottleneckPlan, plan_bottleneck
from fer_ray.networks.bottleneck.bottleneck_rows import load_backbone
from fer_ray.networks.network import Backbone
from fer_ray.pipelines.audit.trial_models import Model, TrialModels, classes_of
from fer_ray.settings.backbones import backbone_of_record
from fer_ray.settings.base import fingerprint
from fer_ray.settings.feature_sets import backbones_of, needs_sequence, sets_of, widths_of
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.parquet import read_table
from fer_ray.storage.run_folder import RunFolder, frames_record
from fer_ray.vocabulary import N_LANDMARKS

MIN_IMAGES, MAX_IMAGES = 2, 20  # test images of each class
MAX_SECONDS = 30  # of CPU time, after which only `MIN_IMAGES` of each class are examined

Row = dict[str, Any]  # a row of frames, by column


def occlusion_map(out: Path, root: Path | None) -> OcclusionMap | str | None:
    """Compute the occlusion map of the best model on a network in the report's first group.

    It is stored in the run folder and computed again only if the model or the network changes. It
    is the mean over as many images as `MAX_SECONDS` of CPU time allow.

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
    samples = select_classes(samples, classes_of(item))
    backbones = {plan.name: load_backbone(plan, None, 0) for plan in plans}
    models = TrialModels(out, item, samples)
    chosen = choose_images(item.predictions, models.trials)
    frames = _read_frames(out, [image.image_id for image in chosen])
    drops: list[NDArray[np.float64]] = []
    started = time.process_time()
    with step("occlusion", "images", len(chosen)) as advance:
        for image in chosen:
            if image.turn >= MIN_IMAGES and time.process_time() - started > MAX_SECONDS:
                break
            row = frames[image.image_id]
            crop = _crop(row, root, plans[0])
            features = samples.features[samples.image_ids.index(image.image_id)]
            model = models(image.trial)
            predict = PredictCrops(model, backbones, item.summary.feature_set, features)
            drops.append(occlusion_drops(predict, crop, _landmarks_xy(row), image.label))
            advance(1)
    labels = [image.label for image in chosen[: len(drops)]]
    return OcclusionMap(item.name, len(drops), mean_drops(labels, drops))


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


class ExaminedImage(NamedTuple):
    """A test image to examine; images sort in the order in which they are examined.

    Attributes:
        turn: Its position among the images of its class.
        label: Class code.
        image_id: Identifies the image.
        trial: Number of a trial that tests it.
    """

    turn: int
    label: int
    image_id: str
    trial: int


def choose_images(predictions: pd.DataFrame, trials: Sequence[int]) -> list[ExaminedImage]:
    """Choose test images that were predicted correctly, in the order in which they are examined.

    Classes take turns, and the images of a class are spread over its image ids, so that every
    beginning of the list is a fair sample.

    Args:
        predictions: Test predictions of an experiment.
        trials: Numbers of the trials to choose from; an image counts in the first one.

    Returns:
        At most `MAX_IMAGES` of each class.

    Raises:
        UserError: None of the images was predicted correctly.
    """
    tested = predictions[predictions["trial"].isin(trials)]
    correct = tested[tested["label"] == tested["predicted"]]
    correct = correct.sort_values(["image_id", "trial"]).drop_duplicates("image_id")
    if correct.empty:
        raise UserError("The model predicts none of its test images correctly.")
    generator, chosen = np.random.default_rng(0), []
    for label, rows in correct.groupby("label"):
        spread = np.linspace(0, len(rows) - 1, min(MAX_IMAGES, len(rows))).round().astype(int)
        for turn, row in enumerate(generator.permutation(spread)):
            image_id, trial = rows[["image_id", "trial"]].iloc[row]
            chosen.append(ExaminedImage(turn, int(str(label)), str(image_id), int(trial)))
    return sorted(chosen)


def _read_frames(out: Path, image_ids: list[str]) -> dict[str, Row]:
    columns = ["image_id", "path", "sha256", "box_xywh", "crop_angle", "landmarks_xy"]
    table = read_table(
        RunFolder(out).frames, columns=columns, filters=[("image_id", "in", image_ids)]
    )
    return {row["image_id"]: row for row in table.to_pylist()}


def _landmarks_xy(row: Row) -> NDArray[np.float64]:
    return np.asarray(row["landmarks_xy"], dtype=float).reshape(N_LANDMARKS, 2)
