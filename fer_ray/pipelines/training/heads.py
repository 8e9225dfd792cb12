"""`fer-ray heads`: trials of a network head, and the card of the best one."""

import time
from itertools import compress
from pathlib import Path
from typing import Any

from fer_ray.evaluation.experiments.experiment import Experiment, PreparedData
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.evaluation.experiments.summary import summary_record
from fer_ray.evaluation.experiments.trial_store import TrialStore
from fer_ray.evaluation.protocols.inner_splits import require_subjects
from fer_ray.execution.progress import Progress
from fer_ray.features.bottleneck_features import trained_record
from fer_ray.networks.bottleneck.augmented_features import (
    AugmentedFeatures,
    fitted_mask,
    load_augmented,
)
from fer_ray.networks.heads.head_trials import HeadStore, HeadTrials, head_card, plan_heads
from fer_ray.networks.keras_backend import require_backend
from fer_ray.pipelines.training.experiments import prepare_trials, run_missing
from fer_ray.settings.feature_sets import backbones_of
from fer_ray.settings.networks import HEADS
from fer_ray.settings.root import Execution
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.run_folder import RunFolder


def run_heads(
    out: Path,
    head: str,
    feature_set: str,
    splitting: TrialSettings,
    execution: Execution,
    progress: Progress,
    strict: bool = False,
) -> dict[str, Any]:
    """Run the trials of a head that `out` does not have yet.

    Args:
        out: Run folder, locked by the caller.
        head: One of `settings.networks.HEADS`.
        feature_set: A backbone, a feature set or a union of them.
        splitting: Protocol, classes and seed.
        execution: Workers.
        progress: Displays the progress.
        strict: Reject splits that leak.

    Returns:
        The card of the best head, as in `heads/EXPERIMENT.json`, with `already_finished` set to
        True if all trials were already done.

    Raises:
        UserError: Features are missing, they do not allow these trials, or the splits leak and
            `strict` is set.
    """
    settings = HEADS[head]
    ready = prepare_heads(out, feature_set, splitting, strict)
    augmented = load_augmented(out, feature_set, ready, splitting, settings.draws)
    experiment = plan_heads(head, settings, feature_set, splitting, ready.folds, augmented.key)
    finished = find_finished_card(out, experiment)
    if finished is not None:
        return {**finished, "already_finished": True}
    started = time.monotonic()
    trials = HeadTrials(experiment, ready.samples, augmented.features, out)
    missing = TrialStore(out, experiment).missing
    count = len(missing())
    run_missing(trials, missing, out, execution, progress, "heads", "trials")
    card = build_card(out, experiment, ready, splitting, augmented)
    seconds = round(time.monotonic() - started, 3)
    HeadStore(out, experiment).assemble({**card, "trials_run": count, "seconds": seconds})
    return add_test_figures(out, experiment)


def prepare_heads(
    out: Path, feature_set: str, splitting: TrialSettings, strict: bool
) -> PreparedData:
    """Read samples and splits for heads. Arguments and errors as in `run_heads`."""
    require_backend()
    ready = prepare_trials(out, splitting, feature_set, strict=strict)
    if ready.folds.protocol != "random":  # validation images are then of separate subjects
        require_subjects(ready.samples, ready.folds.splits)
    return ready


def fitted_images(out: Path, splitting: TrialSettings) -> frozenset[str]:
    """The images that a head is fitted to in any of these trials; only these need draws.

    Raises:
        UserError: There are no finished frames, or they do not allow these trials.
    """
    ready = prepare_trials(out, splitting, splitting.feature_set)
    return frozenset(compress(ready.samples.image_ids, fitted_mask(ready, splitting.seed)))


def find_finished_card(out: Path, experiment: Experiment) -> dict[str, Any] | None:
    """The card of exactly this experiment if the run folder has all of it, or None.

    Adds figures that are missing because a job was stopped just before writing them.
    """
    card = read_json(RunFolder(out).head_card(experiment.name))
    if card is None or card.get("fingerprint") != experiment.fingerprint:
        return None
    if not TrialStore(out, experiment).finished():
        return None
    return card if card["figures"] else add_test_figures(out, experiment)


def build_card(
    out: Path,
    experiment: Experiment,
    ready: PreparedData,
    splitting: TrialSettings,
    augmented: AugmentedFeatures,
) -> dict[str, Any]:
    """The card of a head, without its settings and figures."""
    names = backbones_of(experiment.feature_set)
    backbones = {name: trained_record(out, name) for name in names}
    card = head_card(experiment, ready.samples, backbones, augmented.record)
    return {**card, **ready.to_record(splitting.classes)}


def add_test_figures(out: Path, experiment: Experiment) -> dict[str, Any]:
    """Add the experiment's figures on test images to the card of its head, and return it."""
    file = RunFolder(out).head_card(experiment.name)
    card = read_json(file)
    assert card is not None  # written just before the trials
    (results,) = read_experiments(out, experiment.name)
    figures = summary_record(results.summary)
    card["figures"] = {
        **figures,
        "over": "the heads of all trials; one of them is saved",
    }
    write_json(card, file)
    return card
