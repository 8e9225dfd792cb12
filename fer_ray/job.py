"""The jobs: extraction, trials and report, one at a time or all in one. Called by CLI and jobs/."""

import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fer_ray import __version__
from fer_ray.config import Execution, Settings, TrialSettings
from fer_ray.contracts import SCHEMA_VERSION
from fer_ray.data import store
from fer_ray.errors import UserError
from fer_ray.extract import FRAMES, RECORD, extract, plan
from fer_ray.learn import trials
from fer_ray.learn.summary import ExperimentSummary, summarise
from fer_ray.runtime import ensure_ray

Advance = Callable[[int], None]
# Opens a progress display for a stage: its name, what it counts, and how many there are.
Progress = Callable[[str, str, int], AbstractContextManager[Advance]]

RUN_RECORD = "run.json"
TRIALS_RECORD = "trials.json"
LIBRARIES = (
    "ray", "opencv-python-headless", "dlib-bin", "dlib", "numpy", "scikit-learn", "pyarrow",
    "pandas", "matplotlib", "face_recognition_models",
)  # fmt: skip


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


def run_trials(
    out: Path, settings: TrialSettings, execution: Execution, progress: Progress
) -> dict[str, Any]:
    """Run the trials that `settings` ask for and that `out` does not hold yet.

    Raises:
        UserError: There are no finished frames, or they do not allow these trials.
    """
    frames_record = _frames_record(out)
    samples = trials.read_samples(out / FRAMES, settings.feature_set)
    key = f"{frames_record['fingerprint']}-{frames_record['source_digest']}"
    experiments = trials.plan_experiments(settings, samples, key)
    stores = [trials.TrialStore(out, experiment) for experiment in experiments]
    tasks = [
        (number, trial)
        for number, kept in enumerate(stores)
        if not kept.finished()
        for trial in kept.missing()
    ]
    started = time.monotonic()
    workers = 0
    if tasks:
        workers = ensure_ray(execution)
        from fer_ray.learn.search import run_experiments

        with progress("trials", "trials", len(tasks)) as advance:
            run_experiments(tasks, experiments, samples, out, workers, advance)
    for kept in stores:
        if not kept.finished():
            kept.assemble()
    store.remove(out / trials.PARTIAL)
    record = {
        "settings": settings.model_dump(mode="json"),
        "trials_run": len(tasks),
        "seconds": round(time.monotonic() - started, 3),
        "workers": workers,
        "warnings": trials.warnings_for(samples),
    }
    if tasks or not (out / TRIALS_RECORD).is_file():
        store.write_json(record, out / TRIALS_RECORD)
    return record


def run_report(out: Path, source: Path | None, show_faces: bool) -> Path:
    """Write `out/report` from what the run folder holds; `source` is where the images lie now."""
    record = _frames_record(out)
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
    return all(before.get(name) == value for name, value in done.items()) and names == [
        summary.experiment for summary in summaries
    ]


def _frames_record(out: Path) -> dict[str, Any]:
    record = store.read_json(out / RECORD)
    if record is None or not (out / FRAMES).is_dir():
        raise UserError(
            f"{out} holds no finished frames: run `fer-ray extract --data TREE --out {out}` first."
        )
    return record


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
    }


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return value if value == value else None


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results may depend on."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


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
