"""The settings that define the results: extraction, and each experiment's method and splits."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup
from fer_ray.evaluation.experiments.results import ExperimentResults

Rows = list[tuple[str, ...]]

# A recipe has all settings of the command that created it. These are not shown: they are part of
# the experiment's label, or do not apply to its protocol or kernel.
IN_LABEL = {"kernels", "feature_set", "protocol", "folds"}
RANDOM_ONLY = {"n_trials", "train_share", "test_share"}
UNUSED_BY_KERNEL = {"linear": {"gamma", "degree"}, "rbf": {"degree"}}


def experiment_setting_rows(groups: Sequence[ExperimentGroup]) -> list[dict[str, Any]]:
    """Label, name and settings (name, value) of each experiment."""
    return [
        {
            "label": f"{item.label}, {group.split}",
            "experiment": item.summary.experiment,
            "settings": _applicable_settings(item),
        }
        for group in groups
        for item in group.models
    ]


def _applicable_settings(item: ExperimentResults) -> Rows:
    """The settings of an experiment, flat, with the seed of its splits if they have none."""
    recipe, protocol = dict(item.fit_settings), item.summary.protocol
    if not recipe:
        return []
    settings = recipe.pop("settings", {})
    hidden = IN_LABEL | UNUSED_BY_KERNEL.get(recipe.get("kernel", ""), set())
    if protocol != "random":
        hidden |= RANDOM_ONLY
    if protocol != "random" and not settings.get("augment"):
        hidden |= {"seed"}
    shown = {name: value for name, value in settings.items() if name not in hidden}
    seed = {} if settings else {"seed": int(item.trials["seed"].iloc[0])}
    parts = (value if isinstance(value, dict) else {name: value} for name, value in recipe.items())
    return [row for part in (*parts, shown, seed) for row in setting_rows(part)]


def setting_rows(settings: dict[str, Any]) -> Rows:
    """Flatten nested settings to dotted names and values."""
    return list(_flatten("", settings))


def _flatten(prefix: str, settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flatten(f"{prefix}{name}.", value)
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text
