"""Numbers, names and protocols in plain words: the same everywhere in the report."""

import math
import re

from fer_ray.contracts import EMOTIONS
from fer_ray.learn.summary import ExperimentSummary, is_folds

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
PROTOCOL_TITLES = {
    "random": "Random splits",
    "subject-10fold": "10 folds by subject",
    "loso": "Leave one subject out",
}
# Settings in an experiment's name that are of the method; the others are of the protocol.
METHOD_SETTINGS = {"scale", "C", "gamma", "degree", "tol", "augment", "feature_sets", "classifiers"}
_SETTING = re.compile(r"-(\w+)=(.*?)(?=-\w+=|$)")
# Subject-disjoint protocols first: they answer for people whom the model has never seen.
PROTOCOL_ORDER = ("subject-10fold", "loso", "random")


def percent(share: float) -> str:
    """A share as `83.9 %`, a dash where there is none."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}\u00a0%"


def whole_percent(share: float) -> str:
    """A share as `84 %`, where a digit more would only pretend."""
    return "–" if math.isnan(share) else f"{100 * share:.0f}\u00a0%"


def span(interval: tuple[float, float]) -> str:
    """An interval of shares as `81.2–88.0 %`."""
    low, high = interval
    return "–" if math.isnan(low) else f"{100 * low:.1f}–{100 * high:.1f}\u00a0%"


def signed_span(interval: tuple[float, float]) -> str:
    """An interval of differences, in points, as `−0.8 to +5.0`."""
    low, high = (signed(100 * end) for end in interval)
    return f"{low} to {high}"


def signed(value: float) -> str:
    """One decimal with its sign, a true minus, and no sign on zero."""
    text = f"{value:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def loss(nats: float) -> str:
    """A log loss."""
    return "–" if math.isnan(nats) else f"{nats:.3f}"


def duration(seconds: float) -> str:
    """Seconds as a reader says them."""
    if seconds < 120:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def method(summary: ExperimentSummary) -> str:
    """A classifier on a feature set, for readers, with what sets it apart from the reference."""
    name = METHODS.get(summary.classifier, summary.classifier)
    settings = [
        f"{setting} {value}"
        for setting, value in _SETTING.findall(summary.experiment)
        if setting in METHOD_SETTINGS
    ]
    apart = f" ({', '.join(settings)})" if settings else ""
    return f"{name} on {summary.feature_set} features{apart}"


def mid_sentence(label: str) -> str:
    """A label as it stands within a sentence: abbreviations keep their capitals."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def title(summary: ExperimentSummary) -> str:
    """The heading over experiments of one protocol and the same classes."""
    protocol = summary.protocol
    given = "Folds given as a file" if is_folds(protocol) else "Trials given as a file"
    return PROTOCOL_TITLES.get(protocol, given) + _fewer_classes(summary)


def _fewer_classes(summary: ExperimentSummary) -> str:
    tested = len(summary.classes)
    return f", {tested} classes" if tested < len(EMOTIONS) else ""


def protocol_rank(protocol: str) -> int:
    """Where a protocol stands in the report, subject-disjoint ones first."""
    known = protocol in PROTOCOL_ORDER
    return PROTOCOL_ORDER.index(protocol) if known else len(PROTOCOL_ORDER)


def split(summary: ExperimentSummary) -> str:
    """A protocol with its number of trials, and of classes where some are not tested."""
    n = summary.n_trials
    names = {
        "random": f"{n} random split{'' if n == 1 else 's'}",
        "loso": f"leave one subject out, {n} folds",
        "subject-10fold": f"{n} folds by subject",
        "another-source": "another source",
    }
    return names.get(summary.protocol, f"{summary.protocol}, {n} parts") + _fewer_classes(summary)


def interval(summary: ExperimentSummary) -> str:
    """The accuracy's interval and how it was made."""
    if math.isnan(summary.interval[0]):
        return "no interval from a single trial"
    return f"95\u00a0% interval {span(summary.interval)}, {summary.interval_method}"


def provenance(summary: ExperimentSummary, data_name: str) -> str:
    """What every accuracy must name: data, split, number of trials, interval and its method.

    On random splits also the share of test images whose subject is in training too.
    """
    facts = [data_name, split(summary), interval(summary)]
    if summary.protocol == "random":
        facts.append(shared(summary))
    return "; ".join(facts)


def shared(summary: ExperimentSummary) -> str:
    """The share of test images whose subject is also in training, in a few words."""
    share = summary.test_subject_in_train
    if math.isnan(share):
        return "no subject is known"
    return f"{percent(share)} of test images: subject also in training"


def sharing(summary: ExperimentSummary) -> str:
    """In plain words, how far the test images show people who are also in training."""
    share = summary.test_subject_in_train
    if math.isnan(share):
        return "No subject is known here, so the same person may be in training and in test."
    if share == 0:
        return "No test image shows a person who is also in training."
    return (
        f"{percent(share)} of the test images show a person who is also in training: the model "
        "may know the face and not the expression, so expect less on new people."
    )
