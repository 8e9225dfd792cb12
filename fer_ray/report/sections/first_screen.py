"""The first screen of a report: forest plot, two confusion matrices, and a summary of the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup
from fer_ray.evaluation.experiments.experiment_labels import method_settings
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.report import run_figures
from fer_ray.report.figures.themed_picture import Picture
from fer_ray.report.sections.confusion_tables import ConfusionTable
from fer_ray.report.text import formatting
from fer_ray.vocabulary import EMOTIONS, USABLE_STATUSES

BASELINE = ("svm-linear", "reference")  # classifier and feature set of the reference study


@dataclass(frozen=True)
class FirstScreen:
    """What the first screen shows of the experiments that the verdict compares.

    Attributes:
        forest: The forest plot.
        matrices: One or two confusion matrices, each with its caption.
    """

    forest: Picture
    matrices: tuple[tuple[str, ConfusionTable], ...]


def first_screen(
    run: RunResults, groups: Sequence[ExperimentGroup], tables: Mapping[str, ConfusionTable]
) -> FirstScreen | None:
    """Build the first screen; None without experiments.

    Args:
        run: The run.
        groups: Its experiments; the first group is that of the verdict.
        tables: Confusion matrices by the names of experiments.
    """
    if not groups:
        return None
    group = groups[0]
    return FirstScreen(
        run_figures.leading_models_picture(run, group),
        tuple(
            (f"{role}: {_caption(item)} ({run.data_name}; {group.split})", tables[item.name])
            for role, item in select_matrices(group)
        ),
    )


def select_matrices(group: ExperimentGroup) -> list[tuple[str, ExperimentResults]]:
    """The best experiment, and the one to compare it with, each with its role.

    That is the reference study's linear SVM, or the second best experiment if the first one is that
    SVM or the group does not contain it.
    """
    best, *others = group.models
    baseline = next((item for item in others if _is_baseline(item)), None)
    if baseline is not None:
        return [("Best", best), ("Baseline", baseline)]
    return [("Best", best), *(("Second best", item) for item in others[:1])]


def _is_baseline(item: ExperimentResults) -> bool:
    summary = item.summary
    return (summary.classifier, summary.feature_set) == BASELINE and not method_settings(summary)


def _caption(item: ExperimentResults) -> str:
    return (
        f"{formatting.mid_sentence(item.label)}, accuracy "
        f"{formatting.percent(item.summary.test_accuracy)}, macro recall "
        f"{formatting.percent(item.summary.macro_recall)}"
    )


def class_coverage(run: RunResults) -> list[tuple[str, int, int]]:
    """Each class that has selected images, with its usable and its selected images."""
    selected = run.data["selected_by_emotion"]
    usable = run.usable["emotion"].value_counts()
    return [
        (name, int(usable.get(name, 0)), int(selected[name]))
        for name in EMOTIONS
        if selected.get(name)
    ]


def failure_counts(run: RunResults) -> list[tuple[str, int]]:
    """Each status without landmarks with its number of images, most frequent first."""
    counts = run.extract["counts"]
    failed = [(name, count) for name, count in counts.items() if name not in USABLE_STATUSES]
    return sorted(((name, count) for name, count in failed if count), key=lambda item: -item[1])
