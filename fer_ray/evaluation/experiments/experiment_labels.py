"""Readable labels of an experiment: how its images were split, and its method.

Both derive from the experiment's name, which contains every setting that differs from the
reference settings.
"""

import re

from fer_ray.evaluation.experiments.experiment import CUT_AT, setting_text
from fer_ray.evaluation.experiments.summary import ExperimentSummary
from fer_ray.settings.feature_sets import sets_of
from fer_ray.settings.training import LEFT_OUT, RECOMMENDED, RECOMMENDED_WITH_MESH
from fer_ray.vocabulary import EMOTIONS

_SETTING = re.compile(r"-(\w+)=(.*?)(?=-\w+=|$)")  # in a name: -C=0.5, -feature_sets=hog,landmarks
_DIGEST = re.compile("[0-9a-f]{12}")
# Settings that define the splits; all others belong to the method. Folds need no seed, so the seed
# of a network head under a fold protocol belongs to the method too.
SPLIT_SETTINGS = {"classes", "n_trials", "train_share", "test_share", "seed"}
FOLD_PROTOCOLS = ("subject-10fold", "loso", "official", "given-")
# Subject-disjoint protocols first: their figures hold for people whom the model has never seen.
PROTOCOL_ORDER = ("subject-10fold", "loso", "random")

METHODS = {
    "svm-linear": "Linear SVM",
    "svm-poly": "Polynomial SVM",
    "svm-rbf": "RBF SVM",
    "search": "Searched classifier",
    "head": "Network head of the reference study",
    "head-default": "Network head",
    "head-augmented": "Augmented network head",
    "head-augmented-reference": "Augmented network head with the reference study’s sigmoid",
    "head-search": "Searched network head",
}
SCALED = {"standard": "scaled ", "equal": "equally scaled "}


def describe_splits(summary: ExperimentSummary) -> str:
    """Describe a protocol: number of trials and every difference from the reference splits.

    Such differences are the seed, the shares, and excluded or untested classes.
    """
    n, protocol = summary.n_trials, summary.protocol
    names = {
        "random": f"{n} random split{'' if n == 1 else 's'}",
        "loso": f"leave one subject out, {n} folds",
        "subject-10fold": f"{n} folds by subject",
        "official": "the official split",
        "another-source": "another source",
    }
    name = names.get(protocol) or _describe_given(protocol, n)
    settings = _describe_shares(split_settings(summary)) if protocol == "random" else []
    return ", ".join([name, *settings, *_describe_classes(summary)])


def describe_method(summary: ExperimentSummary) -> str:
    """Describe a classifier, its features and every difference from the reference settings.

    The result is unique among experiments with the same splits, like their names.
    """
    name = METHODS.get(summary.classifier, summary.classifier)
    settings = method_settings(summary)
    if is_recommended(summary):
        usual = {*RECOMMENDED}
        if settings.get("calibration") == "temperature":  # as `fer-ray run` trains the recipe
            usual.add("calibration")
        settings = {key: text for key, text in settings.items() if key not in usual}
        has_blendshapes = "blendshapes" in sets_of(summary.feature_set)
        method = f"Recommended recipe{' with blendshapes' if has_blendshapes else ''}"
    else:
        scaled = SCALED.get(settings.pop("scale", "none"), "")
        method = f"{name} on {scaled}{summary.feature_set} features"
    differences = [
        f"{setting.replace('_', ' ')} {value.replace(',', '/')}"
        for setting, value in settings.items()
    ]
    suffix = f" ({', '.join(differences)})" if differences else ""
    return method + suffix


def is_recommended(summary: ExperimentSummary) -> bool:
    """Whether an experiment follows the recommended recipe, possibly with further settings."""
    settings = {"feature_set": summary.feature_set, **method_settings(summary)}
    return any(
        summary.classifier in {f"svm-{kernel}" for kernel in recipe["kernels"]}
        and all(
            settings.get(name, "") == setting_text(value)
            for name, value in recipe.items()
            if name != "kernels"
        )
        for recipe in (RECOMMENDED, RECOMMENDED_WITH_MESH)
    )


def protocol_rank(protocol: str) -> int:
    """Return the position of a protocol in the report, subject-disjoint protocols first."""
    known = protocol in PROTOCOL_ORDER
    return PROTOCOL_ORDER.index(protocol) if known else len(PROTOCOL_ORDER)


def split_settings(summary: ExperimentSummary) -> dict[str, str]:
    """Return the settings of an experiment's splits that differ from the reference settings."""
    return {
        name: value
        for name, value in _named_settings(summary).items()
        if _is_split_setting(name, summary)
    }


def method_settings(summary: ExperimentSummary) -> dict[str, str]:
    """Return the settings of an experiment's method that differ from the reference settings."""
    return {
        name: value
        for name, value in _named_settings(summary).items()
        if not _is_split_setting(name, summary)
    }


def _named_settings(summary: ExperimentSummary) -> dict[str, str]:
    """The settings in an experiment's name; in a name that was cut, a digest for the last ones."""
    name = summary.experiment
    body, digest = name[:CUT_AT], name[CUT_AT + 1 :]
    if not _DIGEST.fullmatch(digest):
        return dict(_SETTING.findall(name))
    complete = _SETTING.findall(body)[:-1]
    return {**dict(complete), "and more": digest}


def _is_split_setting(name: str, summary: ExperimentSummary) -> bool:
    seeds_method = name == "seed" and summary.protocol.startswith(FOLD_PROTOCOLS)
    return name in SPLIT_SETTINGS and not seeds_method


def _describe_given(protocol: str, n: int) -> str:
    """Splits from a file, with its digest."""
    for kind in ("folds", "trials"):
        if protocol.startswith(f"given-{kind}-"):
            return f"{n} {kind} from a file ({protocol.removeprefix(f'given-{kind}-')})"
    return f"{protocol}, {n} parts"


def _describe_shares(settings: dict[str, str]) -> list[str]:
    texts = {
        "seed": "seed {}",
        "train_share": "{} of each class in training",
        "test_share": "{} of each class in test",
    }
    return [
        text.format(settings[name] if name == "seed" else f"{100 * float(settings[name]):g}%")
        for name, text in texts.items()
        if name in settings
    ]


def _describe_classes(summary: ExperimentSummary) -> list[str]:
    """The classes of an experiment, unless all eight are tested."""
    variant = split_settings(summary).get("classes", "8")
    excluded = next((names for known, names in LEFT_OUT.items() if known == variant), ())
    expected, tested = len(EMOTIONS) - len(excluded), len(summary.classes)
    if tested < expected:
        return [f"{tested} {f'of {expected} ' if excluded else ''}classes tested"]
    return [f"{tested} classes without {' and '.join(excluded)}"] if excluded else []
