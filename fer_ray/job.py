"""The jobs: extraction, trials and report, one at a time or all in one. Called by CLI and jobs/."""

import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fer_ray import __version__
from fer_ray.config import Settings
from fer_ray.contracts import EMOTIONS, SCHEMA_VERSION
from fer_ray.data import store
from fer_ray.errors import UserError
from fer_ray.experiments import frames_record, late_cohorts, run_trials
from fer_ray.extract import extract, plan
from fer_ray.learn import trials
from fer_ray.learn.summary import ExperimentSummary, summarise
from fer_ray.progress import Progress
from fer_ray.versions import library_versions

RUN_RECORD = "run.json"


@dataclass(frozen=True)
class Result:
    """What a job leaves: its record and the figures of every experiment in the run folder."""

    record: dict[str, Any]
    summaries: list[ExperimentSummary]
    report: Path | None
    already_finished: bool = False


def run_extract(
    data: Path, out: Path, settings: Settings, progress: Progress, fresh: bool = False
) -> dict[str, Any]:
    """Extract `data` into `out/frames`; the record, also of an extraction finished before."""
    planned = plan(data, out, settings.extract, fresh)
    total = planned.listing.table.num_rows
    if planned.finished is not None:
        return planned.finished
    with progress("extract", "images", total) as advance:
        return extract(planned, out, settings.execution, advance)


def run_report(out: Path, source: Path | None, show_faces: bool) -> Path:
    """Write `out/report` from what the run folder holds; `source` is where the images lie now."""
    record = frames_record(out)
    if not any((out / trials.TRIALS).glob("*.parquet")):
        raise UserError(f"{out} holds no trials yet: run `fer-ray trials --out {out}` first.")
    from fer_ray.report.page import write_report

    root = source if source is not None else Path(record["data"]["root"])
    return write_report(out, root if root.is_dir() else None, show_faces)


def run_all(
    data: Path,
    out: Path,
    settings: Settings,
    progress: Progress,
    show_faces: bool = False,
    fresh: bool = False,
) -> Result:
    """Extraction, trials and report; what is done already is not done again."""
    started = datetime.now(UTC)
    clock = time.monotonic()
    before = store.read_json(out / RUN_RECORD)
    extracted = run_extract(data, out, settings, progress, fresh)
    tried = run_trials(out, settings.trials, settings.execution, progress)
    page = out / "report" / "index.html"
    done = {"settings": settings.model_dump(mode="json"), "show_faces": show_faces}
    summaries = summaries_of(out)
    if before and page.is_file() and not tried["trials_run"] and _same(before, done, summaries):
        return Result(before, summaries, page, already_finished=True)
    store.remove(out / RUN_RECORD)
    with progress("report", "pages", 1) as advance:
        reporting = time.monotonic()
        root = data.parent if data.is_file() else data
        page = run_report(out, root, show_faces)
        advance(1)
    record = {
        "schema_version": SCHEMA_VERSION,
        "fer_ray_version": __version__,
        **done,
        "versions": library_versions(),
        "seeds": {
            "neutral": settings.extract.selection.neutral_seed,
            "trials": settings.trials.seed,
        },
        "counts": extracted["counts"],
        "experiments": [experiment_record(summary) for summary in summaries],
        "late_cohorts": late_cohorts(out),
        "warnings": tried["warnings"],
        "extract": extracted,
        "machine": machine(),
        "timings": {
            "extract_seconds": extracted["timings"]["extract_seconds"],
            "trials_seconds": tried["seconds"],
            "report_seconds": round(time.monotonic() - reporting, 3),
            "total_seconds": round(time.monotonic() - clock, 3),
        },
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    store.write_json(record, out / RUN_RECORD)
    return Result(record, summaries, page)


def _same(before: dict[str, Any], done: dict[str, Any], summaries: list[ExperimentSummary]) -> bool:
    """Whether a finished run's record tells of exactly this work."""
    names = [record["experiment"] for record in before.get("experiments", [])]
    before, done = ({**one, "settings": _defining(one.get("settings"))} for one in (before, done))
    return all(before.get(name) == value for name, value in done.items()) and names == [
        summary.experiment for summary in summaries
    ]


def _defining(settings: Any) -> dict[str, Any]:
    """Settings without those that only tune how a job is run."""
    return {name: part for name, part in (settings or {}).items() if name != "execution"}


def summaries_of(out: Path) -> list[ExperimentSummary]:
    """The figures of every finished experiment of a run folder, by name."""
    return [summarise(*tables) for tables in trials.read_experiments(out).values()]


def experiment_record(summary: ExperimentSummary) -> dict[str, Any]:
    """One experiment's figures with its protocol, for `run.json` and `--json`."""
    return {
        "experiment": summary.experiment,
        "classifier": summary.classifier,
        "feature_set": summary.feature_set,
        "protocol": summary.protocol,
        "trials": summary.n_trials,
        "images": summary.n_images,
        "subjects": summary.n_subjects,
        "test_accuracy": summary.test_accuracy,
        "test_accuracy_sd": _number(summary.test_accuracy_sd),
        "interval_95": [_number(bound) for bound in summary.interval],
        "interval_method": summary.interval_method,
        "train_accuracy": summary.train_accuracy,
        "test_log_loss": summary.test_log_loss,
        "train_log_loss": summary.train_log_loss,
        "macro_recall": summary.macro_recall,
        "macro_f1": summary.macro_f1,
        "test_subject_in_train": _number(summary.test_subject_in_train),
        "classes": list(summary.classes),
        "calibration_error": summary.calibration_error,
        "recall_by_class": _by_class(summary),
        "recall_interval_method": summary.class_recall_method,
    }


def _by_class(summary: ExperimentSummary) -> dict[str, dict[str, Any]]:
    """Recall of each tested class with its 95 % interval."""
    codes = {name: EMOTIONS.index(name) for name in summary.classes}
    return {
        name: {
            "recall": float(summary.class_recalls[code]),
            "interval_95": summary.class_recall_intervals[code].tolist(),
        }
        for name, code in codes.items()
    }


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return value if value == value else None


def machine() -> dict[str, Any]:
    """Processors and memory of the machine that the driver runs on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "platform": platform.platform(terse=True),
        "processors": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
    }
