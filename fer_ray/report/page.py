"""The report: one self-contained page, and its figures as PNG beside it."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fer_ray.contracts import EMOTIONS
from fer_ray.experiments import late_cohorts
from fer_ray.learn.summary import is_folds
from fer_ray.report import exhibits, published, recipes, side, source, tables, wording
from fer_ray.report.faces import FaceSource
from fer_ray.report.gallery import Gallery, make_gallery
from fer_ray.report.groups import Group, grouped
from fer_ray.report.html import render
from fer_ray.report.picture import Picture
from fer_ray.report.run_folder import Experiment, RunFolder, read_run
from fer_ray.report.splits import split
from fer_ray.report.verdict import Verdict, judge

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
    run = read_run(run_dir)
    faces = FaceSource(source_root, show_faces or run.synthetic, run.crop_size_px)
    context, pictures = _compose(run, faces, late_cohorts(run_dir))
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
    run: RunFolder, faces: FaceSource, late: dict[str, Any]
) -> tuple[dict[str, Any], list[Picture]]:
    """What the template needs, and every figure among it."""
    groups, verdict = grouped(run.experiments), judge(run)
    gallery = make_gallery(verdict.lead, run.usable, faces, beside=1) if verdict.lead else None
    landmarks = exhibits.landmarks_pictures(run, faces)
    confusions = {
        item.summary.experiment: exhibits.confusion_picture(run, item) for item in run.experiments
    }
    single = _single_pictures(run, faces, groups, gallery)
    beside = [_side(run, one, number) for number, one in enumerate(side.sides(groups))]
    learning = side.learning_pictures(run)
    context = {
        **{"run": run, "verdict": verdict, "faces": faces, "gallery": gallery},
        **{"lead": verdict.lead, "landmarks": landmarks, "confusions": confusions, "fig": single},
        **{"groups": [_group(run, group) for group in groups], "sides": beside},
        **{"emotions": EMOTIONS, "tables": tables, "published": published, "wording": wording},
        **{"source": source, "split": split, "is_folds": is_folds},
        **{"learning": learning, "backbones": tables.backbone_rows(run)},
        **{"late_cohort": tables.late_cohort_rows(groups, late)},
        **{"frame_settings": recipes.setting_rows(run.extract["settings"])},
        **{"recipes": recipes.recipe_rows(groups)},
        **{"last_trial": _last_trial_owner(groups), "warnings": _warnings(run, verdict)},
    }
    more = [*(item for one in beside for item in one["pictures"]), *learning]
    return context, [*single.values(), *landmarks, *confusions.values(), *more]


def _side(run: RunFolder, found: side.Side, number: int) -> dict[str, Any]:
    """One group's models side by side."""
    made = found.group.best.summary
    return {
        "title": found.group.title,
        "line": f"On {run.data_name}; {_intervals(found.group)}. {wording.sharing(made)}",
        "best_two": side.best_two(found),
        "hardest": side.hardest(found),
        "heads": side.HEADS,
        "rows": side.rows(found),
        "pictures": side.pictures(run, found, number),
        "legend": side.legend(found),
    }


def _intervals(group: Group) -> str:
    """How the intervals of a group were made, or why there are none."""
    made = [item.summary for item in group.models]
    method = next((one.interval_method for one in made if wording.known(one.interval)), None)
    return f"95\u00a0% intervals: {method}" if method else wording.no_interval(made[0])


def _single_pictures(
    run: RunFolder, faces: FaceSource, groups: Sequence[Group], gallery: Gallery | None
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


def _last_trial_owner(groups: Sequence[Group]) -> Experiment | None:
    """The experiment whose last trial is shown: the best on random splits, as in the study."""
    owners = [group.best for group in groups if group.best.summary.protocol == "random"]
    return owners[0] if owners else groups[0].best if groups else None


def _group(run: RunFolder, group: Group) -> dict[str, Any]:
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
        "rows": tables.comparison_rows(group),
        "recall_heads": ["Class", *(item.label for item in recalled)],
        "recalls": tables.recall_rows(recalled),
        "recall_method": summary.class_recall_method,
        "experiments": [
            {
                "item": item,
                "line": f"On {wording.provenance(item.summary, run.data_name)}",
                "trials": tables.trial_rows(item),
                "all": tables.all_trials_row(item.summary),
                "open": item is group.best and len(item.trials) <= MAX_OPEN_TRIALS,
            }
            for item in group.models
        ],
    }


def _warnings(run: RunFolder, verdict: Verdict) -> list[str]:
    """The verdict's notes, then what the last command that ran trials warned of."""
    last = run.execution.get("warnings", [])
    return [*verdict.notes, *(f"Of the trials that ran last: {warning}" for warning in last)]
