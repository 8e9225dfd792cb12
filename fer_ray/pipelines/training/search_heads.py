"""`fer-ray search-heads`: search for the best head within the training part of each trial."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from fer_ray.execution.cluster.session import ensure_ray
from fer_ray.execution.cluster.shared_storage import require_shared
from fer_ray.execution.progress import Progress
from fer_ray.networks.bottleneck.augmented_features import load_augmented
from fer_ray.networks.heads.head_selection import HeadSelection, TrialSearch, plan_head_search
from fer_ray.networks.heads.head_space import optuna_distributions, sample_configuration
from fer_ray.pipelines.training.experiments import run_missing
from fer_ray.pipelines.training.heads import (
    add_test_figures,
    build_card,
    find_finished_card,
    prepare_heads,
)
from fer_ray.settings.root import Execution, Settings


def run_head_search(
    out: Path, feature_set: str, settings: Settings, progress: Progress, strict: bool = False
) -> dict[str, Any]:
    """Search for the best head within each training part, and test the selected one.

    Args:
        out: Run folder, locked by the caller.
        feature_set: A backbone, a feature set or a union of them.
        settings: `head_search`, the splitting of `trials`, and `execution`.
        progress: Displays the progress.
        strict: Reject splits that leak.

    Returns:
        The card of the best head, as in `heads/EXPERIMENT.json`, with `already_finished` set to
        True if the search was already done.

    Raises:
        UserError: Features are missing, they do not allow these trials, or the splits leak and
            `strict` is set.
    """
    splitting, execution = settings.trials, settings.execution
    ready = prepare_heads(out, feature_set, splitting, strict)
    augmented = load_augmented(out, feature_set, ready, splitting, settings.head_search.draws)
    experiment = plan_head_search(
        settings.head_search, feature_set, splitting, ready.folds, augmented.key
    )
    finished = find_finished_card(out, experiment)
    if finished is not None:
        return {**finished, "already_finished": True}
    started = time.monotonic()
    selection = HeadSelection(experiment, ready.samples, augmented.features, out)
    searches = [selection.trial_search(trial) for trial in selection.missing()]
    count = sum(_compare_configurations(search, execution, progress) for search in searches)
    run_missing(selection, selection.missing, out, execution, progress, "finalists", "trials")
    card = build_card(out, experiment, ready, splitting, augmented)
    seconds = round(time.monotonic() - started, 3)
    selection.assemble({**card, "configurations_raced": count, "seconds": seconds})
    return add_test_figures(out, experiment)


def _compare_configurations(search: TrialSearch, execution: Execution, progress: Progress) -> int:
    """Compare the remaining configurations of one trial, and return their number."""
    settings = search.experiment.settings
    known = search.results()
    count = settings.configurations - len(known)
    if count <= 0:
        return 0
    workers = ensure_ray(execution)
    require_shared(search.out)
    from fer_ray.execution.tuning import Tuning, tune_sampled, tune_suggested

    grace_epochs = min(settings.grace_epochs, settings.max_epochs)
    tuning = Tuning(search, settings.max_epochs, grace_epochs, settings.reduction, workers)
    if settings.searcher == "random":
        tune = partial(tune_sampled, tuning, _untried_configurations(search, known))
    else:
        space = optuna_distributions(settings)
        tune = partial(tune_suggested, tuning, space, search.seed(0), count, known)
    name = f"search {search.trial + 1}/{len(search.experiment.splits)}"
    with progress(name, "heads", settings.configurations) as advance:
        advance(len(known))
        tune(search.out, search.write_result, advance)
    return count


def _untried_configurations(
    search: TrialSearch, known: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The configurations of a random search that have no result yet."""
    settings, tried = search.experiment.settings, [result["configuration"] for result in known]
    sampled = (sample_configuration(settings, search.seed(0), number)
               for number in range(settings.configurations))  # fmt: skip
    return [configuration for configuration in sampled if configuration not in tried]
