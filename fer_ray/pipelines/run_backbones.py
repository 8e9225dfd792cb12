"""The backbones of a whole run: features, reference heads and SVMs on each."""

import logging
from pathlib import Path
from typing import Any

from fer_ray.execution.progress import Progress
from fer_ray.networks.bottleneck_plan import plan_bottleneck
from fer_ray.networks.keras_backend import require_backend
from fer_ray.networks.weights import UnreachableError, find_weights
from fer_ray.pipelines.bottleneck import run_bottleneck
from fer_ray.pipelines.heads import run_heads
from fer_ray.pipelines.trials import run_trials
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.root import Settings
from fer_ray.storage.files import write_json
from fer_ray.storage.run_folder import RunFolder, frames_record
from fer_ray.vocabulary import Origin

logger = logging.getLogger(__name__)


def look_for_weights(settings: Settings) -> dict[str, str]:
    """Backbones of these settings whose published weights are not to be had, and why.

    Raises:
        UserError: A file of weights is missing or is not the backbone's, or Keras, which heads are
            trained with, has not the backend that was asked for.
    """
    if settings.deep.backbones:
        require_backend()
    absent = {}
    for name, asked in settings.deep.weights().items():
        try:
            weights = find_weights(BACKBONES[name], asked)
        except UnreachableError as problem:
            absent[name] = str(problem)
        else:
            if weights.origin == Origin.UNTRAINED:
                absent[name] = f"{weights.file} holds weights that were never trained."
    return absent


def run_backbones(
    out: Path,
    root: Path,
    settings: Settings,
    progress: Progress,
    absent: dict[str, str],
    strict: bool = False,
) -> dict[str, Any]:
    """Do for each backbone what `out` does not hold yet.

    Args:
        out: Run folder with frames, held by the caller.
        root: Where the images lie.
        settings: Whose backbones, trials and execution.
        progress: Shows how far it is.
        absent: From `look_for_weights`; nothing is computed for these.
        strict: Refuse splits that leak.

    Returns:
        What was done, as `deep.json` holds it.
    """
    done = {}
    for name, asked in settings.deep.weights().items():
        if name in absent:
            logger.warning("%s: weights not available: %s", name, absent[name])
            continue
        wanted = plan_bottleneck(frames_record(out), name, asked)
        record = run_bottleneck(out, root, wanted, settings.execution, progress)
        # Scaled: features of networks are so small or so large that C = 1 means nothing on them.
        scaled = {"feature_set": name, "scale": "standard"}
        for splitting in settings.splittings():
            execution = settings.execution
            card = run_heads(out, "reference", name, splitting, execution, progress, strict)
            on_it = splitting.model_copy(update=scaled)
            run_trials(out, on_it, execution, progress, strict)
        done[name] = {"seconds": record["seconds"], "head": card["experiment"]}
    found = {"backbones": done, "weights_not_available": absent}
    write_json(found, RunFolder(out).deep_record)
    return found
