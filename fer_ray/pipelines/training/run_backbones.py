"""Backbones of `fer-ray run`: features, heads and SVMs on each."""

import logging
from pathlib import Path
from typing import Any

from fer_ray.execution.progress import Progress
from fer_ray.networks.bottleneck.bottleneck_plan import plan_bottleneck
from fer_ray.networks.describe_network import find_backbone
from fer_ray.networks.keras_backend import require_backend
from fer_ray.networks.weights import find_weights
from fer_ray.pipelines.extraction.bottleneck import run_bottleneck
from fer_ray.pipelines.training.heads import run_heads
from fer_ray.pipelines.training.require_splits import subjects_known
from fer_ray.pipelines.training.trials import run_trials
from fer_ray.settings.backbones import REFERENCE_BACKBONES
from fer_ray.settings.root import Settings
from fer_ray.storage.downloads import UnreachableError
from fer_ray.storage.files import write_json
from fer_ray.storage.run_folder import RunFolder, frames_record
from fer_ray.vocabulary import Origin

logger = logging.getLogger(__name__)


def find_unavailable_weights(settings: Settings) -> dict[str, str]:
    """Backbones of these settings whose published weights are not available, with the reason.

    Raises:
        UserError: A weights file does not exist or belongs to another network, or Keras's backend
            is not installed.
    """
    unavailable = {}
    for name, source in settings.deep.weights().items():
        spec = find_backbone(name, source, settings.deep)
        if spec.needs_keras:
            require_backend()
        try:
            weights = find_weights(spec, source)
        except UnreachableError as problem:
            unavailable[name] = str(problem)
        else:
            if weights.origin == Origin.UNTRAINED:
                unavailable[name] = f"{weights.source} contains weights that were never trained."
    return unavailable


def run_backbones(
    out: Path,
    root: Path,
    settings: Settings,
    progress: Progress,
    unavailable: dict[str, str],
    strict: bool = False,
) -> dict[str, Any]:
    """Compute features and run trials of each backbone, unless `out` has them.

    Args:
        out: Run folder with frames, locked by the caller.
        root: Folder of the images.
        settings: Backbones, trials and execution.
        progress: Displays the progress.
        unavailable: From `find_unavailable_weights`; these backbones are skipped.
        strict: Reject splits that leak.

    Returns:
        The record, as in `deep.json`.
    """
    backbones = {}
    for name, source in settings.deep.weights().items():
        if name in unavailable:
            logger.warning("%s: weights not available: %s", name, unavailable[name])
            continue
        spec = find_backbone(name, source, settings.deep)
        plan = plan_bottleneck(frames_record(out), spec, source)
        record = run_bottleneck(out, root, plan, settings.execution, progress)
        card = _run_trials_on(name, out, settings, progress, strict)
        backbones[name] = {"seconds": record["seconds"], "head": card["experiment"]}
    record = {"backbones": backbones, "weights_not_available": unavailable}
    write_json(record, RunFolder(out).deep_record)
    return record


def _run_trials_on(
    backbone: str, out: Path, settings: Settings, progress: Progress, strict: bool
) -> dict[str, Any]:
    """Run heads and SVMs under each protocol, and return the card of the last default head."""
    card: dict[str, Any] = {}
    # The scale of network features varies so much that C = 1 means nothing on unscaled ones.
    update = {"feature_set": backbone, "scale": "standard"}
    known = subjects_known(frames_record(out)["data"])
    for splitting in settings.protocol_settings(known):
        execution = settings.execution
        if backbone in REFERENCE_BACKBONES:
            run_heads(out, "reference", backbone, splitting, execution, progress, strict)
        card = run_heads(out, "default", backbone, splitting, execution, progress, strict)
        run_trials(out, splitting.model_copy(update=update), execution, progress, strict)
    return card
