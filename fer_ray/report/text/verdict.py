"""The verdict of a report: the best experiment, its lead, and whether the data support it."""

from dataclasses import dataclass

import numpy as np

from fer_ray.evaluation.comparison import Comparison, compare
from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup, group_experiments
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.report.text import formatting
from fer_ray.vocabulary import EMOTIONS

RECALL_GAP = 0.05  # by which accuracy may exceed macro recall without a warning


@dataclass(frozen=True)
class Verdict:
    """The conclusion of a run, for the top of the page.

    Attributes:
        headline: The best experiment, or why there is none.
        sentence: The accuracies behind it, with intervals and protocol.
        notes: Caveats.
        lead: The best experiment; None without experiments.
    """

    headline: str
    sentence: str
    notes: tuple[str, ...]
    lead: ExperimentResults | None


def derive_verdict(run: RunResults) -> Verdict:
    """Derive the verdict of a run from its first group of experiments."""
    groups = group_experiments(run.experiments)
    if not groups:
        sentence = "No experiment has been run on these images."
        return Verdict("No verdict yet", sentence, tuple(_data_notes(run)), None)
    group = groups[0]
    if len(group.models) > 1:
        conclusive, claim = _compare_best_two(group)
    else:
        conclusive, claim = True, _describe_only(group.best)
    sentence = (
        f"On {run.data_name} ({group.split}), {claim}{_overlap_caveat(group.best, conclusive)} "
        f"({_interval_methods(group)})."
    )
    notes = [*_data_notes(run), *_overlap_notes(groups), *_lead_notes(group)]
    return Verdict(_headline(group, conclusive), sentence, tuple(notes), group.best)


def paired_difference(first: ExperimentResults, second: ExperimentResults) -> Comparison | None:
    """Paired difference of accuracy within a group; None if it has no interval."""
    comparison = compare((first.trials, first.predictions), (second.trials, second.predictions))
    return comparison if formatting.known_interval(comparison.interval) else None


def _headline(group: ExperimentGroup, conclusive: bool) -> str:
    if len(group.models) == 1:
        return f"{group.best.label}: nothing to compare it with"
    return f"{group.best.label} leads" if conclusive else "Too close to call"


def _describe_only(only: ExperimentResults) -> str:
    return f"{_score(only)}; no other experiment was tested on the same images"


def _compare_best_two(group: ExperimentGroup) -> tuple[bool, str]:
    """Return whether the best experiment leads conclusively, and a sentence with both scores."""
    best, second = group.models[:2]
    gap = formatting.plain_points(best.summary.test_accuracy - second.summary.test_accuracy)
    paired = paired_difference(best, second)
    intervals = [formatting.known_interval(item.summary.interval) for item in (best, second)]
    if paired is not None:
        conclusive, reason = paired.conclusive, _describe_paired(paired)
    elif intervals[0] is None or intervals[1] is None:
        conclusive, reason = False, f"a difference of {gap} points may be due to chance"
    else:
        conclusive = intervals[0][0] > intervals[1][1]
        overlap = "do not overlap" if conclusive else "overlap"
        reason = f"the difference is {gap} points, and their intervals {overlap}"
    scores = (
        f"{_score(best)}, and the {formatting.mid_sentence(second.label)} one of "
        f"{_accuracy(second)}"
    )
    return conclusive, f"{scores}; {reason}"


def _describe_paired(paired: Comparison) -> str:
    zero = "excludes zero" if paired.conclusive else "includes zero"
    interval = formatting.signed_interval(paired.interval)
    gap = formatting.plain_points(paired.difference)
    return f"their paired difference of {gap} points ({interval}) {zero}"


def _score(item: ExperimentResults) -> str:
    return f"the {formatting.mid_sentence(item.label)} has an accuracy of {_accuracy(item)}"


def _accuracy(item: ExperimentResults) -> str:
    return formatting.with_interval(item.summary.test_accuracy, item.summary.interval)


def _interval_methods(group: ExperimentGroup) -> str:
    """The methods of the intervals in the sentence; the best experiment may have no interval."""
    best = group.best.summary
    if formatting.known_interval(best.interval):
        return f"95% intervals: {best.interval_method}"
    paired = paired_difference(*group.models[:2]) if len(group.models) > 1 else None
    suffix = f"; interval of the difference: {paired.method}" if paired else ""
    return formatting.missing_interval(best) + suffix


def _overlap_caveat(item: ExperimentResults, conclusive: bool) -> str:
    """Subject overlap, which weakens a conclusive verdict and adds to an inconclusive one."""
    share = item.summary.test_subject_in_train
    if item.summary.protocol != "random" or share == 0:
        return ""
    link = ", but" if conclusive else "; in addition,"
    if np.isnan(share):
        return f"{link} the same person may be in both training and test"
    return (
        f"{link} {formatting.percent(share)} of the test images show a subject who is also in "
        "training"
    )


def _data_notes(run: RunResults) -> list[str]:
    if not run.synthetic:
        return []
    return [
        "The images are synthetic faces, generated by a program. These accuracies show that the "
        "pipeline works; they say nothing about real faces."
    ]


def _overlap_notes(groups: list[ExperimentGroup]) -> list[str]:
    """The subject overlap of the first random splits; each group states its own further down."""
    random = [group for group in groups if group.best.summary.protocol == "random"]
    return [
        f"{group.title}: {formatting.mid_sentence(formatting.explain_overlap(group.best.summary))}"
        for group in random[:1]
    ]


def _lead_notes(group: ExperimentGroup) -> list[str]:
    notes = []
    if len(group.models) > 2:
        notes.append(
            f"The best of {len(group.models)} models was selected on its own test images, so its "
            "accuracy is slightly optimistic."
        )
    lead = group.best
    if lead.summary.test_accuracy - lead.summary.macro_recall > RECALL_GAP:
        notes.append(_imbalance_note(lead))
    interval = formatting.known_interval(lead.summary.interval)
    if interval is not None and interval[0] <= lead.majority_share:
        notes.append(_majority_note(lead))
    return notes


def _majority_note(lead: ExperimentResults) -> str:
    return (
        f"The best model may have learned nothing: always predicting “{_majority_class(lead)}” "
        f"would score {formatting.percent(lead.majority_share)}, which is not below its interval "
        f"({formatting.interval(lead.summary.interval)})."
    )


def _majority_class(lead: ExperimentResults) -> str:
    return EMOTIONS[int(np.argmax(lead.summary.confusion.sum(axis=1)))]


def _imbalance_note(lead: ExperimentResults) -> str:
    return (
        "Accuracy is optimistic for unbalanced classes: always predicting "
        f"“{_majority_class(lead)}” would already score {formatting.percent(lead.majority_share)}, "
        "and the macro recall of the best model is "
        f"{formatting.percent(lead.summary.macro_recall)}, below its accuracy of "
        f"{formatting.percent(lead.summary.test_accuracy)}."
    )
