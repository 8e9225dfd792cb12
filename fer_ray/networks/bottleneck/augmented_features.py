"""Augmented features for heads: checked against the plain ones, and read."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.experiment import PreparedData
from fer_ray.features.bottleneck_features import (
    bottleneck_command,
    read_augmented_features,
    trained_record,
)
from fer_ray.networks.heads.head_data import Floats, fitted_rows
from fer_ray.settings.feature_sets import backbones_of, stored_sets
from fer_ray.settings.networks import HeadSettings
from fer_ray.settings.training import TrialSettings

# Command line options of the settings that define splits.
SPLIT_OPTIONS = {"protocol": "--protocol", "classes": "--classes", "folds": "--folds",
                 "n_trials": "--trials", "seed": "--seed"}  # fmt: skip


@dataclass(frozen=True)
class AugmentedFeatures:
    """Augmented features that a head is trained on; none if it is trained on plain ones.

    Attributes:
        key: Fingerprint of all features that the head uses, plain and augmented.
        features: (draws, n, width) float32, or None.
        record: Record of their table, or None.
    """

    key: str
    features: Floats | None = None
    record: dict[str, Any] | None = None


def load_augmented(
    out: Path, feature_set: str, ready: PreparedData, splitting: TrialSettings, draws: int
) -> AugmentedFeatures:
    """Read the augmented features that a head needs on these splits.

    Args:
        out: Run folder.
        feature_set: Feature set of the head; a single backbone if `draws` is not 0.
        ready: Samples and splits.
        splitting: Settings that the splits follow from.
        draws: Number of draws per image. 0: none.

    Raises:
        UserError: There are too few draws or images, they come from other weights or frames than
            the plain features, or the feature set is not a single backbone.
    """
    if not draws:
        return AugmentedFeatures(ready.frames_key)
    name = _single_backbone(feature_set)
    record = trained_record(out, name, draws)
    _require_same_origin(out, name, record, splitting)
    fresh = _fresh_command(out, name, record, draws, record["drawn"] is not None, splitting)
    if record["draws"] < draws:
        raise UserError(
            f"{out} has {record['draws']} draws of {name}, but {draws} are required. Run: {fresh}"
        )
    features = read_augmented_features(out, name, ready.samples.image_ids, draws)
    missing = np.isnan(features[0, :, 0])
    if (fitted_mask(ready, splitting.seed) & missing).any():
        raise UserError(
            f"{out} has draws of {name} only for the training images of other trials. Compute "
            f"the draws for these trials: {fresh}\nOr omit --fitted-only and the options after it "
            "to compute the draws of all images."
        )
    return AugmentedFeatures(f"{ready.frames_key}-{record['key']}", features, record)


def fitted_mask(ready: PreparedData, seed: int) -> NDArray[np.bool_]:
    """Return whether a head is fitted to a sample in any trial: (n,) bool."""
    share = HeadSettings().validation_share
    return fitted_rows(ready.samples, ready.folds.splits, ready.folds.protocol, share, seed)


def _single_backbone(feature_set: str) -> str:
    names = backbones_of(feature_set)
    if len(names) != 1 or stored_sets(feature_set):
        raise UserError(
            f"An augmented head requires a single backbone, not {feature_set}. Pass one "
            "as --backbone."
        )
    return names[0]


def _require_same_origin(
    out: Path, name: str, augmented: dict[str, Any], splitting: TrialSettings
) -> None:
    """Require plain and augmented features of the same network and frames.

    A head is trained on the augmented ones and tested on the plain ones.
    """
    plain = trained_record(out, name)
    plain_hash, augmented_hash = (record["weights"]["sha256"] for record in (plain, augmented))
    if plain_hash != augmented_hash:
        what = f"the weights {augmented_hash[:12]}…, the plain ones from {plain_hash[:12]}…"
    elif plain.get("frames") != augmented.get("frames"):
        what = "other frames than the plain ones"
    else:
        return
    fitted_only = augmented["drawn"] is not None
    fresh = _fresh_command(out, name, plain, augmented["draws"], fitted_only, splitting)
    raise UserError(
        f"The augmented features of {name} in {out} come from {what}. A head needs both from the "
        f"same weights and frames. Compute the augmented ones again: {fresh}"
    )


def _fresh_command(
    out: Path, name: str, like: dict[str, Any], draws: int, fitted_only: bool,
    splitting: TrialSettings,
) -> str:  # fmt: skip
    """The command that replaces the draws, with the splits if only fitted images have draws."""
    words = [bottleneck_command(out, name, like, draws), "--fresh"]
    if fitted_only:
        reference = TrialSettings()
        words.append("--fitted-only")
        for field, option in SPLIT_OPTIONS.items():
            value = getattr(splitting, field)
            words += [option, shlex.quote(str(value))] if value != getattr(reference, field) else []
    return " ".join(words)
