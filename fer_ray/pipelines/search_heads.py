"""The search of heads as a job: raced trial by trial, answered, and kept."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from fer_ray.execution.progress import Progress
from fer_ray.execution.runner import run_work
from fer_ray.execution.session import ensure_ray, require_shared
from fer_ray.networks.augmented_features import drawn_features
from fer_ray.networks.head_selection import Answers, TrialSearch, plan_head_search
from fer_ray.networks.head_space import distributions, draw_configuration
from fer_ray.pipelines.heads import card_of, finished_card, prepare_heads, with_figures
from fer_ray.settings.root import Execution, Settings


def run_head_search(
    out: Path, feature_set: str, settings: Settings, progress: Progress, strict: bool = False
) -> dict[str, Any]:
    """Search the best head inside each training part, and test what was chosen.

    Args:
        out: Run folder, held by the caller (`holding.run_folder`).
        feature_set: What heads stand on: a backbone, a feature set or a union of them.
        settings: `head_search`, the splitting of `trials`, and `execution`.
        progress: Shows how far it is.
        strict: Refuse splits that leak.

    Returns:
        The card of the best head, as `heads/EXPERIMENT.json` holds it; with `already_finished`,
        true, where nothing was left to do.

    Raises:
        UserError: Features are missing, they do not allow these trials, or the splits leak.
    """
    ready = prepare_heads(out, feature_set, settings.trials, strict)
    drawn = drawn_features(out, feature_set, ready, settings.trials, settings.head_search.draws)
    experiment = plan_head_search(
        settings.head_search, feature_set, settings.trials, ready.folds, drawn.key
    )
    before = finished_card(out, experiment)
    if before is not None:
        return {**before, "already_finished": True}
    started = time.monotonic()
    answers = Answers(experiment, ready.samples, drawn.features, out.resolve())
    left = answers.missing()
    raced = sum(
        _race(TrialSearch(experiment, trial, ready.samples, drawn.features, out.resolve()),
              settings.execution, progress)
        for trial in left
    )  # fmt: skip
    run_work(answers, answers.missing, out, settings.execution, progress, "answers", "trials")
    card = card_of(out, experiment, ready, settings.trials, drawn)
    seconds = round(time.monotonic() - started, 3)
    answers.assemble({**card, "configurations_raced": raced, "seconds": seconds})
    return with_figures(out, experiment)


def _race(search: TrialSearch, execution: Execution, progress: Progress) -> int:
    """Race the configurations of one trial that are left; their number."""
    settings = search.experiment.settings
    known = search.done()
    left = settings.configurations - len(known)
    if left <= 0:
        return 0
    workers = ensure_ray(execution)
    require_shared(search.out)
    from fer_ray.execution.tuning import Race, race_drawn, race_suggested

    race = Race(
        search,
        settings.most_epochs,
        min(settings.grace_epochs, settings.most_epochs),
        settings.reduction,
        workers,
    )
    name = f"search {search.trial + 1}/{len(search.experiment.splits)}"
    with progress(name, "heads", settings.configurations) as advance:
        advance(len(known))
        if settings.searcher == "random":
            race_drawn(race, _drawn(search, known), search.out, search.keep, advance)
        else:
            suggest = partial(race_suggested, race, distributions(settings), search.seed(0), left)
            suggest(known, search.out, search.keep, advance)
    return left


def _drawn(search: TrialSearch, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The configurations of a random search that have not been tried."""
    settings, tried = search.experiment.settings, [one["configuration"] for one in known]
    drawn = (draw_configuration(settings, search.seed(0), number)
             for number in range(settings.configurations))  # fmt: skip
    return [one for one in drawn if one not in tried]
