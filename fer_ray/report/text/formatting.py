"""Formatting of numbers, labels and facts about experiments, uniform throughout the report."""

import math
from collections.abc import Sequence
from typing import Any

from fer_ray.evaluation.experiments.experiment_labels import describe_splits
from fer_ray.evaluation.experiments.summary import ExperimentSummary
from fer_ray.evaluation.protocols import leakage

NO_INTERVAL = "none"  # in place of an interval


def percent(share: float) -> str:
    """Format a share as `83.9%`; NaN as a dash."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}%"


def whole_percent(share: float) -> str:
    """Format a share as `84%`, for values that do not justify a decimal; NaN as a dash."""
    return "–" if math.isnan(share) else f"{100 * share:.0f}%"


def known_interval(interval: Sequence[float | None]) -> tuple[float, float] | None:
    """Both ends of an interval; None if it is unknown, which is stored as NaN or None."""
    low, high = interval
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return None
    return low, high


def interval(interval: Sequence[float | None]) -> str:
    """Format an interval of shares as `81.2–88.0%`."""
    ends = known_interval(interval)
    return f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}%" if ends else NO_INTERVAL


def with_interval(share: float, ends: Sequence[float | None]) -> str:
    """Format a share with its interval, if known, as `83.9% (81.2–88.0%)`."""
    return percent(share) + (f" ({interval(ends)})" if known_interval(ends) else "")


def signed_interval(interval: Sequence[float | None]) -> str:
    """Format an interval of differences, in percentage points, as `−0.8 to +5.0`."""
    ends = known_interval(interval)
    return " to ".join(points(end) for end in ends) if ends else NO_INTERVAL


def with_sd(share: float, sd: float) -> str:
    """Format a mean share with its standard deviation over trials as `83.9 ± 3.6%`."""
    return percent(share) if math.isnan(sd) else f"{100 * share:.1f} ± {100 * sd:.1f}%"


def points(difference: float) -> str:
    """Format a difference of shares in points, with a sign and a true minus; zero has no sign.

    Examples:
        >>> points(0.9 - 0.8625), points(0.0375)
        ('+3.8', '+3.8')
    """
    # Rounded twice, since 3.75 may be 3.7499999999999996 depending on the order of operations.
    text = f"{round(100 * difference, 9):+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def plain_points(difference: float) -> str:
    """Format a difference like `points`, without a plus sign."""
    return points(difference).removeprefix("+")


def loss(nats: float) -> str:
    """Format a log loss; NaN as a dash."""
    return "–" if math.isnan(nats) else f"{nats:.3f}"


def duration(seconds: float) -> str:
    """Format a duration as `0.12 s`, `60 s`, `3 min 05 s` or `2 h 01 min`."""
    if seconds < 120:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def short_label(label: str) -> str:
    """Shorten the label of an experiment for figures."""
    return label.replace(" features", "")


def mid_sentence(label: str) -> str:
    """Lower the first letter of a label, except for abbreviations."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def accuracy_interval(summary: ExperimentSummary) -> str:
    """The interval of the accuracy and its method."""
    if known_interval(summary.interval) is None:
        return missing_interval(summary)
    return f"95% interval {interval(summary.interval)}, {summary.interval_method}"


def missing_interval(summary: ExperimentSummary) -> str:
    """The reason why an accuracy has no interval."""
    method = summary.interval_method
    return (
        f"no interval{method.removeprefix('none')}"
        if method.startswith("none: ")
        else "no interval"
    )


def provenance(summary: ExperimentSummary, data_name: str) -> str:
    """The facts to state with every accuracy: data, splits, trials, interval and its method.

    Random splits also state their subject overlap.
    """
    facts = [data_name, describe_splits(summary), accuracy_interval(summary)]
    if summary.protocol == "random":
        facts.append(subject_overlap(summary))
    return "; ".join(facts)


def subject_overlap(summary: ExperimentSummary) -> str:
    """The share of test images whose subject is also in training, as a short phrase."""
    share = summary.test_subject_in_train
    if math.isnan(share):
        return "subject overlap unknown"
    return f"subject overlap: {percent(share)} of test images"


def explain_overlap(summary: ExperimentSummary) -> str:
    """The share of test images whose subject is also in training, with its consequence."""
    share = summary.test_subject_in_train
    if math.isnan(share):
        return "Subjects are unknown, so the same person may be in both training and test."
    if share == 0:
        return "No test image shows a subject who is also in training."
    return (
        f"{percent(share)} of the test images show a subject who is also in training. The model "
        "may recognise the face rather than the expression, so expect a lower accuracy on new "
        "people."
    )


def leakage_summary(audited: dict[str, Any]) -> str:
    """The result of `leakage.audit` as one sentence."""
    counts = {kind: audited.get(kind) for kind in leakage.MEANINGS}
    known = {kind: count for kind, count in counts.items() if count is not None}
    leaks = [f"{count} {leakage.MEANINGS[kind]}" for kind, count in known.items() if count]
    result = ", ".join(leaks) or f"none shares its {_join([*known], 'or')} with a training image"
    unknown = [kind for kind in counts if kind not in known]
    suffix = f"; {_join(unknown, 'and')} unknown" if unknown else ""
    return (
        f"Leakage audit: of {audited['test_images']} test images over all splits, {result}{suffix}."
    )


def _join(kinds: Sequence[str], conjunction: str) -> str:
    """Join kinds of leakage as `subject, content or appearance`."""
    words = ["appearance" if kind == "near_duplicate" else kind for kind in kinds]
    if len(words) == 1:
        return words[0]
    return f" {conjunction} ".join([", ".join(words[:-1]), words[-1]])
