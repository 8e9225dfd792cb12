"""What defines the results: settings of the frames, and the recipe of each experiment."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fer_ray.evaluation.comparable import Group
from fer_ray.evaluation.results import ExperimentResults

Rows = list[tuple[str, ...]]

# Of a recipe's settings: those that the experiment's name tells anyway, and those without a part in
# it. A recipe holds all settings of the command that it came from.
TOLD = {"kernels", "feature_set", "protocol", "folds"}
RANDOM_ONLY = {"n_trials", "train_share", "test_share"}
NO_PART = {"linear": {"gamma", "degree"}, "rbf": {"degree"}}


def recipe_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Of each experiment its label, its name, and its settings as (name, value)."""
    return [
        {
            "label": f"{item.label}, {group.split}",
            "experiment": item.summary.experiment,
            "settings": _settings(item),
        }
        for group in groups
        for item in group.models
    ]


def _settings(item: ExperimentResults) -> Rows:
    """The recipe of an experiment, flat; the seed of its splits, too, where the recipe has none."""
    recipe, made = dict(item.recipe), item.summary
    if not recipe:
        return []
    own = recipe.pop("settings", {})
    absent = TOLD | NO_PART.get(recipe.get("kernel", ""), set())
    if made.protocol != "random":
        absent |= RANDOM_ONLY
    if made.protocol != "random" and not own.get("augment"):
        absent |= {"seed"}
    kept = {name: value for name, value in own.items() if name not in absent}
    seed = {} if own else {"seed": int(item.trials["seed"].iloc[0])}
    parts = (value if isinstance(value, dict) else {name: value} for name, value in recipe.items())
    return [row for part in (*parts, kept, seed) for row in setting_rows(part)]


def setting_rows(settings: dict[str, Any]) -> Rows:
    """Nested settings as dotted names and values."""
    return list(_flatten("", settings))


def _flatten(prefix: str, settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flatten(f"{prefix}{name}.", value)
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text
