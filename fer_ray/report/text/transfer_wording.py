"""What the page of a prediction says in words: whether the model carries over, and the caveats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_ray.evaluation.results import ExperimentResults, RunResults
from fer_ray.models.bundles.evidence import Evidence
from fer_ray.report.text import wording

Figures = dict[str, Any]  # `figures` of an evaluation
LOWER_ONLY = "Less accurate, though not by mean recall,"
HIGHER_ONLY = "More accurate, though not by mean recall,"
NOWHERE = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Case:
    """One model on one source: what the page tells of."""

    run: RunResults  # of the prediction
    item: ExperimentResults  # its answers, as an experiment of one trial
    evidence: Evidence
    found: dict[str, Any]  # `evaluation` of predict.json

    @property
    def figures(self) -> Figures:
        """The figures here."""
        figures: Figures = self.found["figures"]
        return figures


def shared(case: Case) -> list[str]:
    """The classes that are tested here and were under the training protocol."""
    return [
        name for name in case.figures["recall_by_class"] if name in case.evidence.recall_by_class
    ]


def shared_recall(case: Case) -> tuple[float, tuple[float, ...], float]:
    """Mean recall over the shared classes: here, its interval, and under the training protocol."""
    here, both = case.figures["recall_by_class"], shared(case)
    if not both:
        return float("nan"), NOWHERE, float("nan")
    interval = span_of(case.figures["intervals_95"]["macro_recall"])
    return (
        float(np.mean([here[name]["recall"] for name in both])),
        interval if len(both) == len(here) else NOWHERE,
        float(np.mean([case.evidence.recall_by_class[name].recall for name in both])),
    )


def span_of(interval: Sequence[float | None]) -> tuple[float, float]:
    """An interval with nan where there is none."""
    return wording.known(interval) or NOWHERE


def headline(case: Case) -> str:
    """Whether the model carries over, as far as the intervals tell.

    More faces of an easy class alone raise accuracy, so mean recall must agree.
    """
    low, high = span_of(case.figures["intervals_95"]["accuracy"])
    before = span_of(case.evidence.interval_95)
    _, recall, trained_recall = shared_recall(case)
    if np.isnan(before[0]) or np.isnan(low):
        return f"{wording.percent(case.figures['accuracy'])} on these images"
    if high < before[0]:
        worse = not recall[1] >= trained_recall  # also where mean recall has no interval
        return f"{'Worse' if worse else LOWER_ONLY} on these images than where it was trained"
    if low > before[1]:
        better = not recall[0] <= trained_recall
        return f"{'Better' if better else HIGHER_ONLY} on these images than where it was trained"
    return "No clear difference from where it was trained"


def sentence(case: Case) -> str:
    """Both accuracies with all that they need to be understood."""
    here, there = case.figures, case.evidence
    now = wording.with_span(here["accuracy"], here["intervals_95"]["accuracy"])
    before = wording.with_span(there.test_accuracy, there.interval_95)
    return (
        f"On {case.run.data_name}, {wording.mid_sentence(case.item.label)} has an accuracy of "
        f"{now} on {here['images']} labelled images in which it finds a face, "
        f"{wording.percent(case.found['coverage'])} of them; on {there.data} ({there.protocol}) it "
        f"was {before}."
    )


def notes(case: Case) -> list[str]:
    """What keeps a reader from taking the figures for more than they are."""
    found, here = case.found, case.figures
    told = []
    if case.evidence.synthetic != case.run.synthetic:
        drawn = "the model was trained" if case.evidence.synthetic else "it is tested here"
        told.append(f"The faces on which {drawn} are synthetic: drawn by a program.")
    if span_of(here["intervals_95"]["accuracy"])[0] <= here["commonest_class_share"]:
        told.append(
            "Always answering with the commonest class here would score "
            f"{wording.percent(here['commonest_class_share'])}, which is not below the interval."
        )
    if found["left_out_trained_on"]:
        told.append(
            f"{found['left_out_trained_on']} images are left out: the model was trained on them."
        )
    if found["left_out_unknown_class"]:
        counts = ", ".join(f"{name} {n}" for name, n in found["left_out_unknown_class"].items())
        told.append(f"Left out, since the model cannot answer with their class: {counts}.")
    if found["classes_without_images"]:
        absent = ", ".join(found["classes_without_images"])
        told.append(f"Not tested, since no image here is labelled so: {absent}.")
    if found["classes_without_answers"]:
        absent = ", ".join(found["classes_without_answers"])
        told.append(f"Not tested, since no face was found in any image labelled so: {absent}.")
    told.append(
        "Accuracy depends on how often each class occurs, which differs between the two; mean "
        "recall does not. Whether people here were also seen in training is not known, unless the "
        "files are the same."
    )
    return told
