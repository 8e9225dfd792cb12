"""The report of a run folder: one self-contained page, with its figures as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup, group_experiments
from fer_ray.evaluation.experiments.experiment_labels import describe_splits
from fer_ray.evaluation.experiments.results import (
    ExperimentResults,
    RunResults,
    late_cohorts,
    read_results,
)
from fer_ray.evaluation.experiments.summary import is_folds
from fer_ray.models.occlusion import OcclusionMap
from fer_ray.report import run_figures
from fer_ray.report.figures.landmark_plots import FaceSource
from fer_ray.report.figures.themed_picture import Picture
from fer_ray.report.rendering import render, write_report_folder
from fer_ray.report.sections import (
    data_tables,
    experiment_tables,
    first_screen,
    model_comparison,
)
from fer_ray.report.sections.class_examples import class_examples
from fer_ray.report.sections.confusion_tables import (
    ConfusionTable,
    Faces,
    confusion_table,
    describe_confusion,
)
from fer_ray.report.sections.group_section import read_groups
from fer_ray.report.sections.label_issue_section import read_label_issues
from fer_ray.report.sections.misclassified import Misclassified, find_misclassified
from fer_ray.report.sections.model_evidence import model_evidence
from fer_ray.report.sections.network_evidence import network_evidence
from fer_ray.report.text import formatting, method_settings, published_results
from fer_ray.report.text.verdict import Verdict, derive_verdict
from fer_ray.vocabulary import EMOTIONS

MAX_RECALLS = 4  # experiments, best first, in the table of recalls
MAX_OPEN_TRIALS = 12  # longer tables of trials are collapsed, as are all but the best experiment's


def write_report(
    run_dir: Path,
    source_root: Path | None,
    show_faces: bool,
    occlusion: OcclusionMap | str | None = None,
) -> Path:
    """Write `run_dir/report`: the page and its figures, replacing an earlier report.

    Args:
        run_dir: A run folder with frames and extract.json; trials are optional.
        source_root: Folder of the source images, to recompute face crops; None if it is gone.
        show_faces: Whether faces of real people may be shown; synthetic faces always are.
        occlusion: Occlusion map of a model on a network, or why it could not be computed; None if
            the run has no such model.

    Returns:
        The path of the page, `run_dir/report/index.html`.
    """
    run = read_results(run_dir)
    faces = FaceSource(source_root, show_faces or run.synthetic, run.crop_size_px)
    context, pictures = _build_context(run_dir, run, faces)
    covered = network_evidence(run, occlusion, faces)
    context["covered"] = covered
    pictures += [] if covered is None or isinstance(covered, str) else [covered.picture]
    context["groups_section"] = read_groups(run_dir, run)
    context["label_issues"] = read_label_issues(run_dir, run, faces)
    files = {picture.name: picture.light for picture in pictures}
    page = render("report.html", context)
    return write_report_folder(run_dir, page, files | run_figures.confusion_files(run))


def _build_context(
    run_dir: Path, run: RunResults, faces: FaceSource
) -> tuple[dict[str, Any], list[Picture]]:
    """The variables of the template, and all figures among them."""
    groups, verdict = group_experiments(run.experiments), derive_verdict(run)
    wrong = find_misclassified(verdict.lead, run.usable, faces, 1) if verdict.lead else None
    landmarks = run_figures.landmarks_pictures(run, faces)
    small = Faces(run.usable, faces)
    confusions = _confusion_tables(run, groups, small)
    evidence = model_evidence(run_dir, run, groups, faces)
    examples = class_examples(verdict.lead, run.usable, small) if verdict.lead else []
    screen = first_screen.first_screen(run, groups, confusions)
    single = _single_pictures(run, faces, groups, wrong)
    comparisons = [
        _comparison_context(run, comparison, number)
        for number, comparison in enumerate(model_comparison.compare_groups(groups))
    ]
    learning = model_comparison.learning_pictures(run)
    late = late_cohorts(run.data, run.experiments)
    context = {
        **{"run": run, "verdict": verdict, "lead": verdict.lead, "faces": faces, "wrong": wrong},
        **{"warnings": _warnings(run, verdict), "fig": single, "confusions": confusions},
        **{"landmarks": landmarks, "learning": learning, "comparisons": comparisons},
        **{"groups": [_group_context(run, group) for group in groups]},
        **{"last_trial": _last_trial_experiment(groups), "emotions": EMOTIONS},
        **{"backbones": experiment_tables.backbone_rows(run)},
        **{"late_cohort": experiment_tables.late_cohort_rows(groups, late)},
        **{"evidence": evidence, "examples": examples},
        **{"frame_settings": method_settings.setting_rows(run.extract["settings"])},
        **{"experiment_settings": method_settings.experiment_setting_rows(groups)},
        **{"tables": experiment_tables, "data_tables": data_tables, "formatting": formatting},
        **{"published": published_results, "is_folds": is_folds},
        **{"describe_splits": describe_splits, "describe_confusion": describe_confusion},
        **{"screen": screen, "coverage": first_screen.class_coverage(run)},
        **{"failures": first_screen.failure_counts(run)},
    }
    more = [*(picture for item in comparisons for picture in item["pictures"]), *learning]
    leading = [screen.forest] if screen else []
    leading += [] if isinstance(evidence, str) else [evidence.picture]
    return context, [*leading, *single.values(), *landmarks, *more]


def _confusion_tables(
    run: RunResults, groups: Sequence[ExperimentGroup], faces: Faces
) -> dict[str, ConfusionTable]:
    """The confusion matrix of each experiment; those of the first screen may show faces."""
    shown = {item.name for _, item in first_screen.select_matrices(groups[0])} if groups else set()
    return {
        item.name: confusion_table(item, run.usable, faces if item.name in shown else None, number)
        for number, item in enumerate(item for group in groups for item in group.models)
    }


def _single_pictures(
    run: RunResults,
    faces: FaceSource,
    groups: Sequence[ExperimentGroup],
    wrong: Misclassified | None,
) -> dict[str, Picture]:
    """The figures that occur at most once in a report, by name."""
    pictures = [run_figures.class_counts_picture(run)]
    if groups:
        pictures.append(run_figures.experiments_picture(run, groups))
    experiment = _last_trial_experiment(groups)
    if experiment is not None:
        pictures.append(run_figures.test_labels_picture(experiment))
    if wrong is not None and wrong.worst is not None:
        pictures.append(run_figures.misclassified_picture(wrong.worst, faces))
    return {picture.name: picture for picture in pictures}


def _last_trial_experiment(groups: Sequence[ExperimentGroup]) -> ExperimentResults | None:
    """The experiment whose last trial is shown: the best on random splits."""
    random = [group.best for group in groups if group.best.summary.protocol == "random"]
    return random[0] if random else groups[0].best if groups else None


def _comparison_context(
    run: RunResults, comparison: model_comparison.ModelComparison, number: int
) -> dict[str, Any]:
    group = comparison.group
    overlap = formatting.explain_overlap(group.best.summary)
    return {
        "title": group.title,
        "line": f"On {run.data_name}; {_interval_method(group)}. {overlap}",
        "best_two": model_comparison.describe_best_two(comparison),
        "pairs": model_comparison.pair_rows(comparison),
        "pair_heads": model_comparison.PAIR_HEADS,
        "in_figures": len(comparison.in_figures),
        "consensus": model_comparison.describe_consensus(comparison),
        "heads": model_comparison.HEADS,
        "rows": model_comparison.model_rows(comparison),
        "pictures": model_comparison.comparison_pictures(run, comparison, number),
        "legend": model_comparison.legend(comparison),
    }


def _interval_method(group: ExperimentGroup) -> str:
    """The method of a group's intervals, or the reason why it has none."""
    summaries = [item.summary for item in group.models]
    for summary in summaries:
        if formatting.known_interval(summary.interval):
            return f"95% intervals: {summary.interval_method}"
    return formatting.missing_interval(summaries[0])


def _group_context(run: RunResults, group: ExperimentGroup) -> dict[str, Any]:
    """A group with its experiments, best first."""
    summary, recalled = group.best.summary, group.models[:MAX_RECALLS]
    audited = next((item.leakage for item in group.models if item.leakage), None)
    subjects = f" of {summary.n_subjects} subjects" if summary.n_subjects else ""
    return {
        "title": group.title,
        "line": (
            f"On {run.data_name}; {summary.n_images} images{subjects} tested; "
            f"{_interval_method(group)}"
        ),
        "overlap": formatting.explain_overlap(summary),
        "leakage": formatting.leakage_summary(audited) if audited else "",
        "names": [item.name for item in group.models],
        "rows": experiment_tables.experiment_rows(group),
        "recall_heads": ["Class", *(item.label for item in recalled)],
        "recalls": experiment_tables.recall_rows(recalled),
        "recall_method": summary.class_recall_method,
        "experiments": [
            {
                "item": item,
                "line": f"On {formatting.provenance(item.summary, run.data_name)}",
                "trials": experiment_tables.trial_rows(item),
                "all": experiment_tables.all_trials_row(item.summary),
                "open": item is group.best and len(item.trials) <= MAX_OPEN_TRIALS,
            }
            for item in group.models
        ],
    }


def _warnings(run: RunResults, verdict: Verdict) -> list[str]:
    """The notes of the verdict, then the warnings of the last command that ran trials."""
    last = run.execution.get("warnings", [])
    return [*verdict.notes, *(f"From the last trials: {warning}" for warning in last)]
