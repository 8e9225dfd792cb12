"""How images were split, told from what an experiment's name holds, in plain words."""

import re

from fer_ray.evaluation.experiment import CUT_AT
from fer_ray.evaluation.summary import ExperimentSummary
from fer_ray.settings.training import LEFT_OUT
from fer_ray.vocabulary import EMOTIONS

_SETTING = re.compile(r"-(\w+)=(.*?)(?=-\w+=|$)")  # in a name: -C=0.5, -feature_sets=hog,landmarks
_DIGEST = re.compile("[0-9a-f]{12}")
# Settings that splits follow from; all others are of the method. Folds are split without a seed:
# under them it is of the method, as of a network head.
SPLIT_SETTINGS = {"classes", "n_trials", "train_share", "test_share", "seed"}
FOLDS_BY_NAME = ("subject-10fold", "loso", "given-")
# Subject-disjoint protocols first: they answer for people whom the model has never seen.
PROTOCOL_ORDER = ("subject-10fold", "loso", "random")


def settings_of(summary: ExperimentSummary) -> dict[str, str]:
    """All settings in which an experiment differs from the reference, from its name.

    A name that a file could not bear is cut off: then its digest stands for the last ones.
    """
    name = summary.experiment
    body, digest = name[:CUT_AT], name[CUT_AT + 1 :]
    if not _DIGEST.fullmatch(digest):
        return dict(_SETTING.findall(name))
    whole = _SETTING.findall(body)[:-1]
    return {**dict(whole), "and more": digest}


def split_settings(summary: ExperimentSummary) -> dict[str, str]:
    """Those of `settings_of` that its splits follow from."""
    return {
        name: value for name, value in settings_of(summary).items() if _is_of_split(name, summary)
    }


def method_settings(summary: ExperimentSummary) -> dict[str, str]:
    """Those of `settings_of` that its splits do not follow from."""
    return {
        name: value
        for name, value in settings_of(summary).items()
        if not _is_of_split(name, summary)
    }


def _is_of_split(name: str, summary: ExperimentSummary) -> bool:
    seeds_heads = name == "seed" and summary.protocol.startswith(FOLDS_BY_NAME)
    return name in SPLIT_SETTINGS and not seeds_heads


def protocol_rank(protocol: str) -> int:
    """Where a protocol stands in the report, subject-disjoint ones first."""
    known = protocol in PROTOCOL_ORDER
    return PROTOCOL_ORDER.index(protocol) if known else len(PROTOCOL_ORDER)


def split(summary: ExperimentSummary) -> str:
    """A protocol with its number of trials, and all that sets its splits apart from the reference.

    These are seed, shares, and classes where some are left out or not tested.
    """
    n, protocol = summary.n_trials, summary.protocol
    names = {
        "random": f"{n} random split{'' if n == 1 else 's'}",
        "loso": f"leave one subject out, {n} folds",
        "subject-10fold": f"{n} folds by subject",
        "another-source": "another source",
    }
    name = names.get(protocol) or _given(protocol, n)
    apart = _apart(split_settings(summary)) if protocol == "random" else []
    return ", ".join([name, *apart, *_fewer_classes(summary)])


def _given(protocol: str, n: int) -> str:
    """Splits that were given as a file, with its digest."""
    for kind in ("folds", "trials"):
        if protocol.startswith(f"given-{kind}-"):
            return f"{n} {kind} given as a file ({protocol.removeprefix(f'given-{kind}-')})"
    return f"{protocol}, {n} parts"


def _apart(settings: dict[str, str]) -> list[str]:
    words = {
        "seed": "seed {}",
        "train_share": "{} of each class in training",
        "test_share": "{} of each class in test",
    }
    return [
        text.format(settings[name] if name == "seed" else f"{100 * float(settings[name]):g}\u00a0%")
        for name, text in words.items()
        if name in settings
    ]


def _fewer_classes(summary: ExperimentSummary) -> list[str]:
    """The classes of an experiment where they are not all eight; a variant leaves some out."""
    variant = split_settings(summary).get("classes", "8")
    absent = next((names for known, names in LEFT_OUT.items() if known == variant), ())
    asked, tested = len(EMOTIONS) - len(absent), len(summary.classes)
    if tested < asked:
        return [f"{tested} {f'of {asked} ' if absent else ''}classes tested"]
    return [f"{tested} classes without {' and '.join(absent)}"] if absent else []


METHODS = {
    "svm-linear": "Linear SVM",
    "svm-poly": "Polynomial SVM",
    "svm-rbf": "RBF SVM",
    "search": "Searched classifier",
    "head": "Network head",
    "head-augmented": "Augmented network head",
    "head-augmented-reference": "Augmented network head with the study’s sigmoid",
    "head-search": "Searched network head",
}


SCALED = {"standard": "scaled ", "equal": "equally scaled "}


def method(summary: ExperimentSummary) -> str:
    """A classifier on a feature set, for readers, with all that sets it apart from the reference.

    Two experiments of the same splits never share it: what their names hold is in it.
    """
    name = METHODS.get(summary.classifier, summary.classifier)
    settings = method_settings(summary)
    scaled = SCALED.get(settings.pop("scale", "none"), "")
    told = [
        f"{setting.replace('_', ' ')} {value.replace(',', '/')}"
        for setting, value in settings.items()
    ]
    apart = f" ({', '.join(told)})" if told else ""
    return f"{name} on {scaled}{summary.feature_set} features{apart}"
