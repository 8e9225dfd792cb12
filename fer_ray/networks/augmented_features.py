"""The augmented features that heads take: whether they are there, and belong to the plain ones."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiment import Prepared
from fer_ray.features.bottleneck_features import command, read_draws, trained_record
from fer_ray.networks.head_data import Floats, fitted_rows
from fer_ray.settings.feature_sets import backbones_of, stored_sets
from fer_ray.settings.networks import HeadSettings
from fer_ray.settings.training import TrialSettings

# Settings of splits, as the command line knows them.
OPTIONS = {"protocol": "--protocol", "classes": "--classes", "folds": "--folds",
           "n_trials": "--trials", "seed": "--seed"}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """What a head takes besides the features of the images as they are.

    Attributes:
        key: Names all the features that it takes.
        features: Augmented ones (draws, n, width); None: none.
        record: Of their table; None: none.
    """

    key: str
    features: Floats | None = None
    record: dict[str, Any] | None = None


def drawn_features(
    out: Path, feature_set: str, ready: Prepared, splitting: TrialSettings, draws: int
) -> Drawn:
    """The draws that a head of these splits is trained on.

    Raises:
        UserError: There are too few draws or of too few images, they are of another network or of
            other images than the plain features, or the feature set is not one backbone alone.
    """
    if not draws:
        return Drawn(ready.frames_key)
    names = backbones_of(feature_set)
    if len(names) != 1 or stored_sets(feature_set):
        raise UserError(f"An augmented head stands on one backbone alone, not on {feature_set}.")
    name = names[0]
    record = trained_record(out, name, draws)
    _require_same_origin(out, name, record, splitting)
    anew = _anew(out, name, record, draws, record["drawn"] is not None, splitting)
    if record["draws"] < draws:
        raise UserError(
            f"{out} holds {record['draws']} draws of {name}, and {draws} are needed: {anew}"
        )
    features = read_draws(out, name, ready.samples.image_ids, draws)
    lacking = np.isnan(features[0, :, 0])
    if (fitted_of(ready, splitting.seed) & lacking).any():
        raise UserError(
            f"{out} holds draws of {name} of the images alone that other trials fit. Draw those of "
            f"these trials: {anew}\nOr, without --fitted-only and what follows it, of all images."
        )
    return Drawn(f"{ready.frames_key}-{record['key']}", features, record)


def fitted_of(ready: Prepared, seed: int) -> NDArray[np.bool_]:
    """Which of the samples (n,) some trial fits."""
    share = HeadSettings().validation_share
    return fitted_rows(ready.samples, ready.folds.splits, ready.folds.protocol, share, seed)


def _require_same_origin(
    out: Path, name: str, drawn: dict[str, Any], splitting: TrialSettings
) -> None:
    """See that a head is not trained on one network and tested on another."""
    plain = trained_record(out, name)
    ours, theirs = (one["weights"]["sha256"] for one in (plain, drawn))
    if ours != theirs:
        what = f"with the weights {theirs[:12]}…, its plain ones with {ours[:12]}…"
    elif plain.get("frames") != drawn.get("frames"):
        what = "of other frames than its plain ones"
    else:
        return
    anew = _anew(out, name, plain, drawn["draws"], drawn["drawn"] is not None, splitting)
    raise UserError(
        f"The augmented features of {name} in {out} were made {what}: a head would be trained on "
        f"the one and tested on the other. Draw anew: {anew}"
    )


def _anew(
    out: Path, name: str, like: dict[str, Any], draws: int, fitted_only: bool,
    splitting: TrialSettings,
) -> str:  # fmt: skip
    """The command that replaces the draws; those of fitted images alone need their splits."""
    words = [command(out, name, like, draws), "--fresh"]
    if fitted_only:
        reference = TrialSettings()
        words.append("--fitted-only")
        for field, option in OPTIONS.items():
            value = getattr(splitting, field)
            words += [option, shlex.quote(str(value))] if value != getattr(reference, field) else []
    return " ".join(words)
