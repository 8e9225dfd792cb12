"""Heads as jobs: features read, splits prepared, missing trials run, the best head kept."""

import time
from itertools import compress
from pathlib import Path
from typing import Any

from fer_ray.evaluation.experiment import Experiment, Prepared
from fer_ray.evaluation.results import read_experiments
from fer_ray.evaluation.splits import require_subjects
from fer_ray.evaluation.summary import figures_of
from fer_ray.evaluation.trial_store import TrialStore
from fer_ray.execution.progress import Progress
from fer_ray.execution.runner import run_work
from fer_ray.features.bottleneck_features import trained_record
from fer_ray.networks.augmented_features import Drawn, drawn_features, fitted_of
from fer_ray.networks.head_trials import HeadStore, HeadTrials, head_card, plan_heads
from fer_ray.networks.keras_backend import require_backend
from fer_ray.pipelines.experiments import prepare
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
    """Run the trials of a head that `out` does not hold yet.

    Args:
        out: Run folder, held by the caller (`holding.run_folder`).
        head: One of `settings.HEADS`.
        feature_set: What it stands on: a backbone, a feature set or a union of them.
        splitting: Protocol, classes and seed.
        execution: Workers.
        progress: Shows how far it is.
        strict: Refuse splits that leak.

    Returns:
        The card of the best head, as `heads/EXPERIMENT.json` holds it; with `already_finished`,
        true, where nothing was left to do.

    Raises:
        UserError: Features are missing, they do not allow these trials, or the splits leak.
    """
    settings = HEADS[head]
    ready = prepare_heads(out, feature_set, splitting, strict)
    drawn = drawn_features(out, feature_set, ready, splitting, settings.draws)
    experiment = plan_heads(head, settings, feature_set, splitting, ready.folds, drawn.key)
    before = finished_card(out, experiment)
    if before is not None:
        return {**before, "already_finished": True}
    started = time.monotonic()
    work = HeadTrials(experiment, ready.samples, drawn.features, out.resolve())
    missing = TrialStore(out, experiment).missing
    undone = missing()
    run_work(work, missing, out, execution, progress, "heads", "trials")
    card = card_of(out, experiment, ready, splitting, drawn)
    HeadStore(out, experiment).assemble(
        {**card, "trials_run": len(undone), "seconds": round(time.monotonic() - started, 3)}
    )
    return with_figures(out, experiment)


def prepare_heads(out: Path, feature_set: str, splitting: TrialSettings, strict: bool) -> Prepared:
    """Samples and splits for heads; arguments and errors as of `run_heads`."""
    require_backend()
    ready = prepare(out, splitting, feature_set, strict=strict)
    if ready.folds.protocol != "random":  # validation images are then of subjects of their own
        require_subjects(ready.samples, ready.folds.splits)
    return ready


def finished_card(out: Path, experiment: Experiment) -> dict[str, Any] | None:
    """The card of exactly this experiment, if all of it is in the run folder.

    What was stopped after the trials were written lacks the card's figures, which are added.
    """
    card = read_json(_card_file(out, experiment.name))
    if card is None or card.get("fingerprint") != experiment.fingerprint:
        return None
    if not TrialStore(out, experiment).finished():
        return None
    return card if card["figures"] else with_figures(out, experiment)


def fitted_images(out: Path, splitting: TrialSettings) -> frozenset[str]:
    """The images that heads fit in some of these trials: augmented draws of others are not used.

    Raises:
        UserError: There are no finished frames, or they do not allow these trials.
    """
    ready = prepare(out, splitting, splitting.feature_set)
    return frozenset(compress(ready.samples.image_ids, fitted_of(ready, splitting.seed)))


def card_of(
    out: Path, experiment: Experiment, ready: Prepared, splitting: TrialSettings, drawn: Drawn
) -> dict[str, Any]:
    """The card of a head, its settings and figures still to come."""
    names = backbones_of(experiment.feature_set)
    backbones = {name: trained_record(out, name) for name in names}
    card = head_card(experiment, ready.samples, backbones, drawn.record)
    return {**card, **ready.told(splitting.classes)}


def with_figures(out: Path, experiment: Experiment) -> dict[str, Any]:
    """Write the experiment's figures on test images into its head's card; the card."""
    file = _card_file(out, experiment.name)
    card = read_json(file)
    assert card is not None  # written just before the trials
    (results,) = read_experiments(out, experiment.name)
    figures = figures_of(results.summary)
    card["figures"] = {**figures, "over": "the heads of all trials; the one kept is of one trial"}
    write_json(card, file)
    return card


def _card_file(out: Path, name: str) -> Path:
    return RunFolder(out).head_card(name)
