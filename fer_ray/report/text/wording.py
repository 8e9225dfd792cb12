"""Numbers, names and what test images share, in plain words: the same everywhere in the report."""

import math
from collections.abc import Sequence
from typing import Any

from fer_ray.evaluation import leakage
from fer_ray.evaluation.split_wording import split
from fer_ray.evaluation.summary import ExperimentSummary

NONE = "none"  # stands where there is no interval


def percent(share: float) -> str:
    """A share as `83.9 %`, a dash where there is none."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}\u00a0%"


def whole_percent(share: float) -> str:
    """A share as `84 %`, where a digit more would only pretend."""
    return "–" if math.isnan(share) else f"{100 * share:.0f}\u00a0%"


def known(interval: Sequence[float | None]) -> tuple[float, float] | None:
    """The two ends of an interval; None where there is none, which is written as nan or as None."""
    low, high = interval
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return None
    return low, high


def span(interval: Sequence[float | None]) -> str:
    """An interval of shares as `81.2–88.0 %`."""
    ends = known(interval)
    return f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}\u00a0%" if ends else NONE


def with_span(share: float, interval: Sequence[float | None]) -> str:
    """A share with its interval, where it has one, as `83.9 % (81.2–88.0 %)`."""
    return percent(share) + (f" ({span(interval)})" if known(interval) else "")


def signed_span(interval: Sequence[float | None]) -> str:
    """An interval of differences, in points, as `−0.8 to +5.0`."""
    ends = known(interval)
    return " to ".join(signed(100 * end) for end in ends) if ends else NONE


def with_sd(share: float, sd: float) -> str:
    """A mean share with its standard deviation over trials, as `83.9 ± 3.6 %`."""
    return percent(share) if math.isnan(sd) else f"{100 * share:.1f} ± {100 * sd:.1f}\u00a0%"


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


def short(label: str) -> str:
    """A method's label for figures, where each letter counts."""
    return label.replace(" features", "")


def mid_sentence(label: str) -> str:
    """A label as it stands within a sentence: abbreviations keep their capitals."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def interval(summary: ExperimentSummary) -> str:
    """The accuracy's interval and how it was made."""
    if known(summary.interval) is None:
        return no_interval(summary)
    return f"95\u00a0% interval {span(summary.interval)}, {summary.interval_method}"


def no_interval(summary: ExperimentSummary) -> str:
    """Why an accuracy has no interval."""
    method = summary.interval_method
    return (
        f"no interval{method.removeprefix('none')}"
        if method.startswith("none: ")
        else "no interval"
    )


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


def leaked(audited: dict[str, Any]) -> str:
    """What an audit of the splits (`leakage.audit`) found that test images share with training."""
    found = {kind: audited.get(kind) for kind in leakage.MEANINGS}
    counts = {kind: count for kind, count in found.items() if count is not None}
    told = [f"{count} {leakage.MEANINGS[kind]}" for kind, count in counts.items() if count]
    what = ", ".join(told) or f"none shares its {_kinds([*counts], 'or')} with one in training"
    absent = [kind for kind in found if kind not in counts]
    beside = f"; {_kinds(absent, 'and')} not known" if absent else ""
    tested = audited["test_images"]
    return f"Leakage audit: of {tested} test images over all splits, {what}{beside}."


def _kinds(kinds: Sequence[str], link: str) -> str:
    """Kinds of what may be shared as `subject, content or look`."""
    words = ["look" if kind == "near_duplicate" else kind for kind in kinds]
    return f" {link} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
