"""The jobs: extraction, trials and report, one at a time or all in one. Called by CLI and jobs/."""

import importlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_ray import __version__
from fer_ray.errors import UserError
from fer_ray.evaluation.results import read_experiments
from fer_ray.execution.progress import Advance, Progress
from fer_ray.pipelines.extract import extract, plan
from fer_ray.settings.root import Settings
from fer_ray.sources.listing import require_labels
from fer_ray.storage.environment import library_versions, machine
from fer_ray.storage.files import read_json, remove, write_json
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import SCHEMA_VERSION

if TYPE_CHECKING:
    from fer_ray.evaluation.summary import ExperimentSummary


@dataclass(frozen=True)
class Result:
    """What a job leaves: its record and the figures of every experiment in the run folder."""

    record: dict[str, Any]
    summaries: "list[ExperimentSummary]"
    report: Path | None
    already_finished: bool = False


def run_extract(
    data: Path,
    out: Path,
    settings: Settings,
    progress: Progress,
    fresh: bool = False,
    labelled: bool = False,
) -> dict[str, Any]:
    """Extract `data` into `out/frames`; the record, also of an extraction finished before.

    Raises:
        UserError: The source or a model is missing, or no image is labelled where `labelled` asks
            for it.
        MismatchError: `out` holds frames made from other settings or files, and `fresh` is not set.
    """
    planned = plan(data, out, settings.extract, fresh)
    if labelled:
        require_labels(data, planned.listing)
    total = planned.listing.table.num_rows
    if planned.finished is not None:
        return planned.finished
    with progress("extract", "images", total) as advance:
        return extract(planned, out, settings.execution, advance)


def run_report(out: Path, source: Path | None, show_faces: bool) -> Path:
    """Write `out/report` from what the run folder holds; `source` is where the images lie now."""
    from fer_ray.storage.run_folder import frames_record

    record = frames_record(out)
    if not RunFolder(out).experiments():
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
    strict: bool = False,
) -> Result:
    """Extraction, trials and report; what is done already is not done again.

    Args:
        data: The images' source.
        out: Run folder, held by the caller (`holding.run_folder`).
        settings: What to do.
        progress: Shows how far it is.
        show_faces: Whether the report may show faces.
        fresh: Replace frames of other settings or images.
        strict: Refuse splits that leak.

    Raises:
        UserError: Something is missing, there is nothing to train on, or splits leak.
        MismatchError: `out` holds frames of another run, and `fresh` is not set.
    """
    started = datetime.now(UTC)
    clock = time.monotonic()
    before = read_json(RunFolder(out).run_record)
    absent, deep = {}, {}
    if settings.deep.backbones:
        from fer_ray.pipelines.run_backbones import look_for_weights, run_backbones

        absent = look_for_weights(settings)
    extracted = run_extract(data, out, settings, _importing(progress), fresh, labelled=True)
    from fer_ray.evaluation.results import late_cohorts
    from fer_ray.evaluation.summary import figures_of
    from fer_ray.pipelines.trials import run_trials

    root = data.parent if data.is_file() else data
    deep_clock = time.monotonic()
    if settings.deep.backbones:
        deep = run_backbones(out, root, settings, progress, absent, strict)
    deep_seconds = time.monotonic() - deep_clock
    tried = [
        run_trials(out, one, settings.execution, progress, strict)
        for one in settings.trials_of_run()
    ]
    page = RunFolder(out).report / "index.html"
    done = {"settings": settings.model_dump(mode="json"), "show_faces": show_faces}
    experiments = read_experiments(out)
    summaries = [item.summary for item in experiments]
    trials_run = sum(one["trials_run"] for one in tried)
    if before and page.is_file() and not trials_run and _same(before, done, summaries):
        return Result(before, summaries, page, already_finished=True)
    remove(RunFolder(out).run_record)
    with progress("report", "pages", 1) as advance:
        reporting = time.monotonic()
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
        "experiments": [figures_of(summary) for summary in summaries],
        "late_cohorts": late_cohorts(extracted["data"], experiments),
        "warnings": [*_warnings(tried), *_absent(absent)],
        "leakage": _audits(tried),
        "deep": deep,
        "extract": extracted,
        "machine": machine(),
        "timings": {
            "extract_seconds": extracted["timings"]["extract_seconds"],
            "backbones_seconds": round(deep_seconds, 3),  # features, heads and trials on them
            "trials_seconds": round(sum(one["seconds"] for one in tried), 3),
            "report_seconds": round(time.monotonic() - reporting, 3),
            "total_seconds": round(time.monotonic() - clock, 3),
        },
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(record, RunFolder(out).run_record)
    return Result(record, summaries, page)


def _importing(progress: Progress) -> Progress:
    """`progress` that, once work is under way, imports what trials and report will need.

    The driver has nothing to do then, and a short job is seconds shorter.
    """

    def import_ahead() -> None:
        for module in (
            "fer_ray.pipelines.experiments",
            "fer_ray.execution.runner",
            "fer_ray.report.page",
        ):
            importlib.import_module(module)

    @contextmanager
    def opened(name: str, unit: str, total: int) -> Iterator[Advance]:
        thread = threading.Thread(target=import_ahead, daemon=True)

        def told(done: int) -> None:
            if done and thread.ident is None:
                thread.start()
            advance(done)

        with progress(name, unit, total) as advance:
            yield told

    return opened


def _warnings(tried: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(warning for one in tried for warning in one["warnings"]))


def _audits(tried: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the splits share, once a protocol, without the counts of each split."""
    audits = {one["leakage"]["protocol"]: one["leakage"] for one in tried}
    return [{k: v for k, v in audit.items() if k != "splits"} for audit in audits.values()]


def _absent(absent: dict[str, str]) -> list[str]:
    return [f"{name}: weights not available. {why}" for name, why in absent.items()]


def _same(
    before: dict[str, Any], done: dict[str, Any], summaries: "list[ExperimentSummary]"
) -> bool:
    """Whether a finished run's record tells of exactly this work and its figures."""
    from fer_ray.evaluation.summary import figures_of

    told = [figures_of(summary) for summary in summaries]
    same = before.get("experiments") == json.loads(json.dumps(told))
    before, done = ({**one, "settings": _defining(one.get("settings"))} for one in (before, done))
    return same and all(before.get(name) == value for name, value in done.items())


def _defining(settings: Any) -> dict[str, Any]:
    """Settings without those that only tune how a job is run."""
    return {name: part for name, part in (settings or {}).items() if name != "execution"}
