"""The verdict: which experiment leads, by how much, and whether the data bear it out."""

from dataclasses import dataclass

import numpy as np

from fer_ray.evaluation.comparable import Group, grouped
from fer_ray.evaluation.compare import Comparison, compare
from fer_ray.evaluation.results import ExperimentResults, RunResults
from fer_ray.report.text import wording
from fer_ray.vocabulary import EMOTIONS

PARADOX_GAP = 0.05  # accuracy above macro recall by this much is worth a warning


@dataclass(frozen=True)
class Verdict:
    """The answer of a run, for the top of the page."""

    headline: str
    sentence: str
    notes: tuple[str, ...]
    lead: ExperimentResults | None


def difference(best: ExperimentResults, other: ExperimentResults) -> Comparison | None:
    """Paired difference of accuracy within a group; None where it has no interval."""
    found = compare((best.trials, best.predictions), (other.trials, other.predictions))
    return found if wording.known(found.interval) else None


def judge(run: RunResults) -> Verdict:
    """The verdict on a run."""
    groups = grouped(run.experiments)
    if not groups:
        sentence = "No experiment has been run on these images, so there is no verdict."
        return Verdict("No verdict yet", sentence, tuple(_data_notes(run)), None)
    group = groups[0]
    holds, claim = _compare(group) if len(group.models) > 1 else (True, _alone(group.best))
    sentence = (
        f"On {run.data_name} ({group.split}), {claim}{_caveat(group.best, holds)} "
        f"({_method(group)})."
    )
    notes = [*_data_notes(run), *_sharing_notes(groups), *_lead_notes(group)]
    return Verdict(_headline(group, holds), sentence, tuple(notes), group.best)


def _headline(group: Group, holds: bool) -> str:
    if len(group.models) == 1:
        return f"{group.best.label}, with nothing to compare"
    return f"{group.best.label} leads" if holds else "Too close to call"


def _alone(only: ExperimentResults) -> str:
    return f"{_score(only)}; no other experiment was tested on the same images"


def _compare(group: Group) -> tuple[bool, str]:
    """Whether the data bear out the lead of the best, and both scores with the reason."""
    best, second = group.models[:2]
    gap = 100 * (best.summary.test_accuracy - second.summary.test_accuracy)
    paired = difference(best, second)
    ends = [wording.known(one.summary.interval) for one in (best, second)]
    if paired is not None:
        holds, reason = paired.conclusive, _paired_reason(paired)
    elif ends[0] is None or ends[1] is None:
        holds, reason = False, f"a gap of {gap:.1f} points may be chance"
    else:
        holds = ends[0][0] > ends[1][1]
        overlap = "do not overlap" if holds else "overlap"
        reason = f"the intervals of the two, {gap:.1f} points apart, {overlap}"
    scores = f"{_score(best)} and {wording.mid_sentence(second.label)} {_share(second)}"
    return holds, f"{scores}; {reason}"


def _paired_reason(paired: Comparison) -> str:
    zero = "leaves out zero" if paired.conclusive else "includes zero"
    span = wording.signed_span(paired.interval)
    return f"their paired difference of {100 * paired.difference:.1f} points ({span}) {zero}"


def _score(item: ExperimentResults) -> str:
    return f"{wording.mid_sentence(item.label)} has an accuracy of {_share(item)}"


def _share(item: ExperimentResults) -> str:
    return wording.with_span(item.summary.test_accuracy, item.summary.interval)


def _method(group: Group) -> str:
    """How the intervals in the sentence were made; the best alone may have none of its own."""
    best = group.best.summary
    if wording.known(best.interval):
        return f"95\u00a0% intervals: {best.interval_method}"
    paired = difference(*group.models[:2]) if len(group.models) > 1 else None
    beside = f"; of the difference: {paired.method}" if paired else ""
    return wording.no_interval(best) + beside


def _caveat(item: ExperimentResults, holds: bool) -> str:
    """What weakens a verdict that holds, or comes on top of one that does not."""
    shared = item.summary.test_subject_in_train
    if item.summary.protocol != "random" or shared == 0:
        return ""
    link = ", but" if holds else "; besides,"
    if np.isnan(shared):
        return f"{link} the same person may be in training and in test"
    return f"{link} {wording.percent(shared)} of the test images show a person seen in training"


def _data_notes(run: RunResults) -> list[str]:
    if not run.synthetic:
        return []
    return [
        "The faces are synthetic: drawn by a program. These accuracies show that the job works; "
        "they say nothing about real faces."
    ]


def _sharing_notes(groups: list[Group]) -> list[str]:
    """What the first random splits share; each of them has a line of its own further down."""
    random = [group for group in groups if group.best.summary.protocol == "random"]
    return [
        f"{group.title}: {wording.mid_sentence(wording.sharing(group.best.summary))}"
        for group in random[:1]
    ]


def _lead_notes(group: Group) -> list[str]:
    notes = []
    if len(group.models) > 2:
        notes.append(
            f"The best of {len(group.models)} was picked on the images that it is tested on, which "
            "flatters it a little."
        )
    lead = group.best
    if lead.summary.test_accuracy - lead.summary.macro_recall > PARADOX_GAP:
        notes.append(_paradox(lead))
    interval = wording.known(lead.summary.interval)
    if interval is not None and interval[0] <= lead.majority_share:
        notes.append(_nothing_learned(lead))
    return notes


def _nothing_learned(lead: ExperimentResults) -> str:
    return (
        f"The leader may have learned nothing: always answering “{_commonest(lead)}” would score "
        f"{wording.percent(lead.majority_share)}, which is not below its interval "
        f"({wording.span(lead.summary.interval)})."
    )


def _commonest(lead: ExperimentResults) -> str:
    return EMOTIONS[int(np.argmax(lead.summary.confusion.sum(axis=1)))]


def _paradox(lead: ExperimentResults) -> str:
    return (
        "Accuracy flatters unbalanced classes: always answering "
        f"“{_commonest(lead)}” would already score {wording.percent(lead.majority_share)}, and "
        f"the leader’s mean recall over classes is {wording.percent(lead.summary.macro_recall)}, "
        f"below its accuracy of {wording.percent(lead.summary.test_accuracy)}."
    )
