"""The report: one self-contained page, and its figures as PNG beside it."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fer_ray.evaluation.comparable import Group, grouped
from fer_ray.evaluation.results import ExperimentResults, RunResults, late_cohorts, read_results
from fer_ray.evaluation.split_wording import split
from fer_ray.evaluation.summary import is_folds
from fer_ray.report import exhibits, experiment_rows, side_by_side, source
from fer_ray.report.figures.faces import FaceSource
from fer_ray.report.figures.picture import Picture
from fer_ray.report.gallery import Gallery, make_gallery
from fer_ray.report.html import render
from fer_ray.report.text import method_settings, published, wording
from fer_ray.report.text.verdict import Verdict, judge
from fer_ray.vocabulary import EMOTIONS

logger = logging.getLogger(__name__)

MOST_RECALLS = 4  # experiments, best first, whose recall of each class is shown
MAX_OPEN_TRIALS = 12  # longer trial tables are folded, as are all but the best experiment's


def write_report(run_dir: Path, source_root: Path | None, show_faces: bool) -> Path:
    """Write `run_dir/report`: the page and its figures, in the place of any earlier ones.

    Args:
        run_dir: A run folder with frames, extract.json and as many trials as there are.
        source_root: The tree of images, to make the crops of shown faces again; None if it is gone.
        show_faces: Whether faces of real people may be shown; synthetic ones always are.

    Returns:
        The page, `run_dir/report/index.html`.
    """
    run = read_results(run_dir)
    faces = FaceSource(source_root, show_faces or run.synthetic, run.crop_size_px)
    context, pictures = _compose(run, faces, late_cohorts(run.data, run.experiments))
    return put_in_place(run_dir, render("report.html", context), pictures)


def put_in_place(out: Path, text: str, pictures: list[Picture]) -> Path:
    """Write a page and its figures as `out/report`; the page's path."""
    partial = out / "report.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for item in pictures:
        (partial / f"{item.name}.png").write_bytes(item.light)
    (partial / "index.html").write_text(text, encoding="utf-8")
    page = _swap_in(partial, out / "report") / "index.html"
    logger.info("report: %s, %d figures", page, len(pictures))
    return page


def _swap_in(partial: Path, final: Path) -> Path:
    """Put a finished folder into place; at no time is there half a report under its name."""
    old = final.with_name("report.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    return final


def _compose(
    run: RunResults, faces: FaceSource, late: dict[str, Any]
) -> tuple[dict[str, Any], list[Picture]]:
    """What the template needs, and every figure among it."""
    groups, verdict = grouped(run.experiments), judge(run)
    gallery = make_gallery(verdict.lead, run.usable, faces, beside=1) if verdict.lead else None
    landmarks = exhibits.landmarks_pictures(run, faces)
    confusions = {
        item.summary.experiment: exhibits.confusion_picture(run, item) for item in run.experiments
    }
    single = _single_pictures(run, faces, groups, gallery)
    beside = [_side(run, one, number) for number, one in enumerate(side_by_side.sides(groups))]
    learning = side_by_side.learning_pictures(run)
    context = {
        **{"run": run, "verdict": verdict, "faces": faces, "gallery": gallery},
        **{"lead": verdict.lead, "landmarks": landmarks, "confusions": confusions, "fig": single},
        **{"groups": [_group(run, group) for group in groups], "sides": beside},
        **{
            "emotions": EMOTIONS,
            "tables": experiment_rows,
            "published": published,
            "wording": wording,
        },
        **{"source": source, "split": split, "is_folds": is_folds},
        **{"learning": learning, "backbones": experiment_rows.backbone_rows(run)},
        **{"late_cohort": experiment_rows.late_cohort_rows(groups, late)},
        **{"frame_settings": method_settings.setting_rows(run.extract["settings"])},
        **{"recipes": method_settings.recipe_rows(groups)},
        **{"last_trial": _last_trial_owner(groups), "warnings": _warnings(run, verdict)},
    }
    more = [*(item for one in beside for item in one["pictures"]), *learning]
    return context, [*single.values(), *landmarks, *confusions.values(), *more]


def _side(run: RunResults, found: side_by_side.Side, number: int) -> dict[str, Any]:
    """One group's models side by side."""
    made = found.group.best.summary
    return {
        "title": found.group.title,
        "line": f"On {run.data_name}; {_intervals(found.group)}. {wording.sharing(made)}",
        "best_two": side_by_side.best_two(found),
        "hardest": side_by_side.hardest(found),
        "heads": side_by_side.HEADS,
        "rows": side_by_side.rows(found),
        "pictures": side_by_side.pictures(run, found, number),
        "legend": side_by_side.legend(found),
    }


def _intervals(group: Group) -> str:
    """How the intervals of a group were made, or why there are none."""
    made = [item.summary for item in group.models]
    method = next((one.interval_method for one in made if wording.known(one.interval)), None)
    return f"95\u00a0% intervals: {method}" if method else wording.no_interval(made[0])


def _single_pictures(
    run: RunResults, faces: FaceSource, groups: Sequence[Group], gallery: Gallery | None
) -> dict[str, Picture]:
    """The figures of which a report has at most one, by name."""
    pictures = [exhibits.class_counts_picture(run)]
    if groups:
        pictures.append(exhibits.comparison_picture(run, groups))
    owner = _last_trial_owner(groups)
    if owner is not None:
        pictures.append(exhibits.test_labels_picture(owner))
    if gallery is not None and gallery.worst is not None:
        pictures.append(exhibits.misclassified_picture(gallery.worst, faces))
    return {item.name: item for item in pictures}


def _last_trial_owner(groups: Sequence[Group]) -> ExperimentResults | None:
    """The experiment whose last trial is shown: the best on random splits, as in the study."""
    owners = [group.best for group in groups if group.best.summary.protocol == "random"]
    return owners[0] if owners else groups[0].best if groups else None


def _group(run: RunResults, group: Group) -> dict[str, Any]:
    """One group with its experiments, best first."""
    summary, recalled = group.best.summary, group.models[:MOST_RECALLS]
    audited = next((item.leakage for item in group.models if item.leakage), None)
    return {
        "title": group.title,
        "line": (
            f"On {run.data_name}; {summary.n_images} images"
            f"{f' of {summary.n_subjects} subjects' if summary.n_subjects else ''} tested; "
            f"{_intervals(group)}"
        ),
        "sharing": wording.sharing(summary),
        "leaked": wording.leaked(audited) if audited else "",
        "rows": experiment_rows.comparison_rows(group),
        "recall_heads": ["Class", *(item.label for item in recalled)],
        "recalls": experiment_rows.recall_rows(recalled),
        "recall_method": summary.class_recall_method,
        "experiments": [
            {
                "item": item,
                "line": f"On {wording.provenance(item.summary, run.data_name)}",
                "trials": experiment_rows.trial_rows(item),
                "all": experiment_rows.all_trials_row(item.summary),
                "open": item is group.best and len(item.trials) <= MAX_OPEN_TRIALS,
            }
            for item in group.models
        ],
    }


def _warnings(run: RunResults, verdict: Verdict) -> list[str]:
    """The verdict's notes, then what the last command that ran trials warned of."""
    last = run.execution.get("warnings", [])
    return [*verdict.notes, *(f"Of the trials that ran last: {warning}" for warning in last)]
