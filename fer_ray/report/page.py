"""The report: one self-contained page, and its figures as PNG beside it."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fer_ray.contracts import EMOTIONS
from fer_ray.report import exhibits, published, side, tables, wording
from fer_ray.report.faces import FaceSource
from fer_ray.report.gallery import Gallery, make_gallery
from fer_ray.report.html import render
from fer_ray.report.picture import Picture
from fer_ray.report.run_folder import Experiment, RunFolder, read_run
from fer_ray.report.verdict import Verdict, by_protocol, judge

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
    context, pictures = _compose(run, faces)
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


def _compose(run: RunFolder, faces: FaceSource) -> tuple[dict[str, Any], list[Picture]]:
    """What the template needs, and every figure among it."""
    groups, verdict = by_protocol(run.experiments), judge(run)
    gallery = make_gallery(verdict.lead, run.usable, faces) if verdict.lead else None
    landmarks = exhibits.landmarks_pictures(run, faces)
    confusions = {
        item.summary.experiment: exhibits.confusion_picture(run, item) for item in run.experiments
    }
    single = _single_pictures(run, faces, groups, gallery)
    found = side.sides(groups)
    beside, learning = side.pictures(run, found), side.learning_pictures(run)
    context = {
        **{"run": run, "verdict": verdict, "faces": faces, "gallery": gallery},
        **{"lead": verdict.lead, "landmarks": landmarks, "confusions": confusions, "fig": single},
        **{"protocols": [_protocol(run, group) for group in groups]},
        **{"emotions": EMOTIONS, "tables": tables, "published": published, "wording": wording},
        **{"sides": [_side(run, one, beside[one.title]) for one in found]},
        **{"learning": learning, "backbones": tables.backbone_rows(run)},
        **{"late_cohort": tables.late_cohort_rows(run)},
        **{"last_trial": _last_trial_owner(groups), "warnings": _warnings(run, verdict)},
    }
    more = [*(item for pair in beside.values() for item in pair), *learning]
    return context, [*single.values(), *landmarks, *confusions.values(), *more]


def _side(run: RunFolder, found: side.Side, pictures: Sequence[Picture]) -> dict[str, Any]:
    """One protocol's models side by side."""
    shown = found.models[: side.MOST_MODELS]
    return {
        "title": found.title,
        "line": f"On {run.data_name}; {wording.split(shown[0].summary)}; intervals: "
        f"{shown[0].summary.interval_method}. {wording.sharing(shown[0].summary)}",
        "best_two": side.best_two(found),
        "hardest": side.hardest(found),
        "heads": side.HEADS,
        "rows": side.rows(found),
        "pictures": pictures,
        "legend": "; ".join(f"{at}: {item.label}" for at, item in enumerate(shown, 1)),
    }


def _single_pictures(
    run: RunFolder,
    faces: FaceSource,
    groups: Sequence[Sequence[Experiment]],
    gallery: Gallery | None,
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


def _last_trial_owner(groups: Sequence[Sequence[Experiment]]) -> Experiment | None:
    """The experiment whose last trial is shown: the best on random splits, as in the study."""
    owners = [group[0] for group in groups if group[0].summary.protocol == "random"]
    return owners[0] if owners else groups[0][0] if groups else None


def _protocol(run: RunFolder, group: Sequence[Experiment]) -> dict[str, Any]:
    """One protocol with its experiments, best first."""
    summary = group[0].summary
    return {
        "title": wording.title(summary),
        "line": (
            f"On {run.data_name}; {wording.split(summary)}; {summary.n_images} images"
            f"{f' of {summary.n_subjects} subjects' if summary.n_subjects else ''} tested; "
            f"95\u00a0% intervals: {summary.interval_method}"
        ),
        "sharing": wording.sharing(summary),
        "rows": tables.comparison_rows(group),
        "recall_heads": ["Class", *(item.label for item in group[:MOST_RECALLS])],
        "recalls": tables.recall_rows(group[:MOST_RECALLS]),
        "recall_method": summary.class_recall_method,
        "experiments": [
            {
                "item": item,
                "line": f"On {wording.provenance(item.summary, run.data_name)}",
                "trials": tables.trial_rows(item),
                "open": item is group[0] and len(item.trials) <= MAX_OPEN_TRIALS,
            }
            for item in group
        ],
    }


def _warnings(run: RunFolder, verdict: Verdict) -> list[str]:
    """The verdict's notes, then what the job itself warned of."""
    return [*verdict.notes, *run.execution.get("warnings", [])]
