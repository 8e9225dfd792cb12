"""`fer-ray run` and `extract`: all steps of a run, or its first one."""

import importlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_ray.errors import UserError
from fer_ray.execution.progress import Advance, Progress
from fer_ray.pipelines.extraction.extract import extract
from fer_ray.pipelines.extraction.extraction_plan import plan_extraction, require_one_row_per_image
from fer_ray.pipelines.report import run_report
from fer_ray.settings.backbones import BACKBONES
from fer_ray.settings.feature_sets import KNOWN_SETS, backbones_of, stored_sets
from fer_ray.settings.root import Settings
from fer_ray.sources.datasets.listing import require_labels
from fer_ray.storage.files import read_json, remove, write_json
from fer_ray.storage.run_folder import RunFolder, frames_record

if TYPE_CHECKING:
    from fer_ray.evaluation.experiments.summary import ExperimentSummary

# Needed after the extraction, and slow to import.
IMPORTED_AHEAD = (
    "fer_ray.pipelines.training.trials",
    "fer_ray.pipelines.run_record",
    "fer_ray.models.svm",
    "fer_ray.execution.tasks.runner",
    "fer_ray.report.run_page",
)


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run.

    Attributes:
        record: The record, as in `run.json`.
        summaries: Figures of every experiment in the run folder.
        report: The report's page.
        already_finished: Whether nothing was left to do.
    """

    record: dict[str, Any]
    summaries: "list[ExperimentSummary]"
    report: Path
    already_finished: bool = False


def run_all(
    data: Path,
    out: Path,
    settings: Settings,
    progress: Progress,
    show_faces: bool = False,
    fresh: bool = False,
    strict: bool = False,
    groups: Sequence[str] = (),
) -> RunOutcome:
    """Extract features, run all trials and write the report. Finished steps are not repeated.

    Args:
        data: Source of the images.
        out: Run folder, locked by the caller.
        settings: What to run.
        progress: Displays the progress.
        show_faces: Show faces in the report.
        fresh: Replace frames of other settings or images.
        strict: Reject splits that leak.
        groups: Further columns of the labels file to compare groups by in the report.

    Raises:
        UserError: Something is missing, there is nothing to train on, or the splits leak and
            `strict` is set.
        MismatchError: `out` has frames of another run, and `fresh` is not set.
    """
    _require_features_of_trials(settings)
    started, clock, seconds = datetime.now(UTC), time.monotonic(), dict[str, float]()
    run, root = RunFolder(out), data.parent if data.is_file() else data
    previous = read_json(run.run_record)
    unavailable = _unavailable_weights(settings)
    extraction = run_extract(data, out, settings, _importing_ahead(progress), fresh, labelled=True)
    if groups:  # before the trials, not after them
        from fer_ray.pipelines.audit.compare_groups import find_columns, read_attributes

        groups = find_columns(groups, read_attributes(run.frames))
    with _timed(seconds, "backbones"):  # features, heads and SVMs on them
        networks = _run_backbones(out, root, settings, progress, unavailable, strict)
    trials = _run_trials(out, settings, progress, strict)
    from fer_ray.evaluation.experiments.results import read_experiments
    from fer_ray.pipelines.run_record import describe_run, describe_timings, matches

    experiments = read_experiments(out)
    summaries = [item.summary for item in experiments]
    inputs = {
        "settings": settings.model_dump(mode="json"),
        "show_faces": show_faces,
        "groups": [*groups],
    }
    page = run.report / "index.html"
    did_trials = any(record["trials_run"] for record in trials)
    if previous and page.is_file() and not did_trials and matches(previous, inputs, summaries):
        return RunOutcome(previous, summaries, page, already_finished=True)
    remove(run.run_record)
    with _timed(seconds, "report"), progress("report", "pages", 1) as advance:
        page = run_report(out, root, show_faces, groups)
        advance(1)
    record = {
        **describe_run(settings, inputs, extraction, trials, experiments, unavailable),
        "deep": networks,
        "timings": describe_timings(extraction, trials, seconds, time.monotonic() - clock),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(record, run.run_record)
    return RunOutcome(record, summaries, page)


def _require_features_of_trials(settings: Settings) -> None:
    extracted = set(settings.extract.features.sets)
    for trials in settings.svm_trial_settings():
        if not set(stored_sets(trials.feature_set)) <= extracted:
            raise UserError(
                f"The trials need {trials.feature_set}, which extract.features.sets does not "
                "include. Add it (mesh, blendshapes and pose: --profile mesh), or change "
                "trials.feature_set."
            )
        networks = {*backbones_of(trials.feature_set)} - {*BACKBONES, *settings.deep.weights()}
        if networks:
            raise UserError(
                f"{trials.feature_set} is not a feature set. Specify {KNOWN_SETS}, or pass your "
                f"own network as --backbone {min(networks)}=FILE."
            )


def run_extract(
    data: Path,
    out: Path,
    settings: Settings,
    progress: Progress,
    fresh: bool = False,
    labelled: bool = False,
) -> dict[str, Any]:
    """Extract `data` into `out/frames`.

    Args:
        data: Source of the images.
        out: Run folder, locked by the caller.
        settings: `extract` and `execution`.
        progress: Displays the progress.
        fresh: Replace frames of other settings or images.
        labelled: Require labelled images that the protocols of `settings` can split.

    Returns:
        The record, even if the extraction was already finished.

    Raises:
        UserError: The source or a model is missing; or `labelled` is set, and no image is labelled
            or the labelled ones cannot be split.
        MismatchError: `out` has frames of other settings or images, and `fresh` is not set.
    """
    require_one_row_per_image(settings.extract)
    with progress("list", "", 0):
        plan = plan_extraction(data, out, settings.extract, fresh)
    if labelled:
        from fer_ray.pipelines.training.require_splits import require_splits

        require_labels(data, plan.listing)
        require_splits(plan.listing, settings)
    if plan.finished is not None:
        return plan.finished
    with progress("extract", "images", plan.listing.table.num_rows) as advance:
        return extract(plan, out, settings.execution, advance)


def _unavailable_weights(settings: Settings) -> dict[str, str]:
    if not settings.deep.backbones:
        return {}
    from fer_ray.pipelines.training.run_backbones import find_unavailable_weights

    return find_unavailable_weights(settings)


def _run_backbones(
    out: Path, root: Path, settings: Settings, progress: Progress, unavailable: dict[str, str],
    strict: bool,
) -> dict[str, Any]:  # fmt: skip
    if not settings.deep.backbones:
        return {}
    from fer_ray.pipelines.training.run_backbones import run_backbones

    return run_backbones(out, root, settings, progress, unavailable, strict)


def _run_trials(
    out: Path, settings: Settings, progress: Progress, strict: bool
) -> list[dict[str, Any]]:
    from fer_ray.pipelines.training.require_splits import subjects_known
    from fer_ray.pipelines.training.trials import run_trials

    known = subjects_known(frames_record(out)["data"])
    return [
        run_trials(out, trials, settings.execution, progress, strict)
        for trials in settings.svm_trial_settings(known)
    ]


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started


def _importing_ahead(progress: Progress) -> Progress:
    """A progress display that imports modules for the later steps when the first images are done.

    The driver is idle then, so a short job ends a few seconds earlier.
    """

    def import_modules() -> None:
        for module in IMPORTED_AHEAD:
            importlib.import_module(module)

    @contextmanager
    def display(name: str, unit: str, total: int) -> Iterator[Advance]:
        thread = threading.Thread(target=import_modules, daemon=True)

        def advance_and_import(done: int) -> None:
            if done and thread.ident is None:
                thread.start()
            advance(done)

        with progress(name, unit, total) as advance:
            yield advance_and_import

    return display
