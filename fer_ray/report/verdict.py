"""The verdict: which experiment leads, by how much, and whether the data bear it out."""

import math
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from fer_ray.contracts import EMOTIONS
from fer_ray.learn.compare import PAIRED, Comparison, compare
from fer_ray.report import wording
from fer_ray.report.run_folder import Experiment, RunFolder

PARADOX_GAP = 0.05  # accuracy above macro recall by this much is worth a warning


@dataclass(frozen=True)
class Verdict:
    """The answer of a run, for the top of the page."""

    headline: str
    sentence: str
    notes: tuple[str, ...]
    lead: Experiment | None


def by_protocol(experiments: tuple[Experiment, ...]) -> list[list[Experiment]]:
    """Experiments that may be compared, best first; subject-disjoint protocols come first.

    Those that tested other classes are no match for each other; all eight come before fewer.
    """

    def rank(item: Experiment) -> tuple[int, str, int, tuple[str, ...]]:
        made = item.summary
        order = wording.protocol_rank(made.protocol)
        return order, made.protocol, -len(made.classes), made.classes

    groups = [list(group) for _, group in groupby(sorted(experiments, key=rank), key=rank)]
    for group in groups:
        group.sort(key=lambda item: (-item.summary.test_accuracy, item.summary.experiment))
    return groups


def difference(best: Experiment, other: Experiment) -> Comparison | None:
    """Paired difference of accuracy; None for a single random trial, or for other test images."""
    images = [set(zip(*(one.predictions[key] for key in PAIRED), strict=True))
              for one in (best, other)]  # fmt: skip
    if images[0] != images[1]:
        return None
    found = compare((best.trials, best.predictions), (other.trials, other.predictions))
    return None if math.isnan(found.interval[0]) else found


def judge(run: RunFolder) -> Verdict:
    """The verdict on a run."""
    groups = by_protocol(run.experiments)
    if not groups:
        sentence = "No experiment has been run on these images, so there is no verdict."
        return Verdict("No verdict yet", sentence, tuple(_data_notes(run)), None)
    group = groups[0]
    best = group[0].summary
    headline, claim = _compare(group) if len(group) > 1 else _alone(group[0])
    where = f"On {run.data_name} ({wording.split(best)})"
    caveat = _caveat(best.protocol, best.test_subject_in_train)
    sentence = f"{where}, {claim}{caveat} ({_method(group[0])})."
    notes = [*_data_notes(run), *_sharing_notes(groups), *_lead_notes(group)]
    return Verdict(headline, sentence, tuple(notes), group[0])


def _alone(only: Experiment) -> tuple[str, str]:
    return (
        f"{only.label}, with nothing to compare",
        f"{_score(only)}; no other experiment ran under this protocol",
    )


def _compare(group: list[Experiment]) -> tuple[str, str]:
    best, second = group[:2]
    gap = best.summary.test_accuracy - second.summary.test_accuracy
    paired = difference(best, second)
    if paired is not None:
        holds, reason = paired.conclusive, _paired_reason(paired)
    elif math.isnan(best.summary.interval[0]) or math.isnan(second.summary.interval[0]):
        holds, reason = False, f"a gap of {100 * gap:.1f} points may be chance"
    else:
        holds = best.summary.interval[0] > second.summary.interval[1]
        overlap = "do not overlap" if holds else "overlap"
        reason = f"the intervals of the two, {100 * gap:.1f} points apart, {overlap}"
    scores = f"{_score(best)} and {wording.mid_sentence(second.label)} {_share(second)}"
    headline = f"{best.label} leads" if holds else "Too close to call"
    return headline, f"{scores}; {reason}"


def _paired_reason(paired: Comparison) -> str:
    zero = "leaves out zero" if paired.conclusive else "includes zero"
    span = wording.signed_span(paired.interval)
    return f"their paired difference of {100 * paired.difference:.1f} points ({span}) {zero}"


def _score(item: Experiment) -> str:
    return f"{wording.mid_sentence(item.label)} has an accuracy of {_share(item)}"


def _share(item: Experiment) -> str:
    accuracy, interval = item.summary.test_accuracy, item.summary.interval
    beside = "" if math.isnan(interval[0]) else f" ({wording.span(interval)})"
    return wording.percent(accuracy) + beside


def _method(item: Experiment) -> str:
    if math.isnan(item.summary.interval[0]):
        return "a single trial gives no interval"
    return f"95\u00a0% intervals: {item.summary.interval_method}"


def _caveat(protocol: str, shared: float) -> str:
    if protocol != "random" or shared == 0:
        return ""
    if math.isnan(shared):
        return ", but the same person may be in training and in test"
    return f", but {wording.percent(shared)} of the test images show a person seen in training"


def _data_notes(run: RunFolder) -> list[str]:
    if not run.synthetic:
        return []
    return [
        "The faces are synthetic: drawn by a program. These accuracies show that the job works; "
        "they say nothing about real faces."
    ]


def _sharing_notes(groups: list[list[Experiment]]) -> list[str]:
    random = [group[0].summary for group in groups if group[0].summary.protocol == "random"]
    return [
        f"Random splits: {wording.mid_sentence(wording.sharing(summary))}" for summary in random
    ]


def _lead_notes(group: list[Experiment]) -> list[str]:
    notes = []
    if len(group) > 2:
        notes.append(
            f"The best of {len(group)} was picked on the images that it is tested on, which "
            "flatters it a little."
        )
    lead = group[0]
    if lead.summary.test_accuracy - lead.summary.macro_recall > PARADOX_GAP:
        notes.append(_paradox(lead))
    if lead.summary.interval[0] <= lead.majority_share:
        notes.append(_nothing_learned(lead))
    return notes


def _nothing_learned(lead: Experiment) -> str:
    return (
        f"The leader may have learned nothing: always answering “{_commonest(lead)}” would score "
        f"{wording.percent(lead.majority_share)}, which is not below its interval "
        f"({wording.span(lead.summary.interval)})."
    )


def _commonest(lead: Experiment) -> str:
    return EMOTIONS[int(np.argmax(lead.summary.confusion.sum(axis=1)))]


def _paradox(lead: Experiment) -> str:
    return (
        "Accuracy flatters unbalanced classes: always answering "
        f"“{_commonest(lead)}” would already score {wording.percent(lead.majority_share)}, and "
        f"the leader’s mean recall over classes is {wording.percent(lead.summary.macro_recall)}, "
        f"below its accuracy of {wording.percent(lead.summary.test_accuracy)}."
    )
