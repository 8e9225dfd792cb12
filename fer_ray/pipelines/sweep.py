"""The sweep: list the source, plan, read and process images, publish, clean up, write a report."""

import json
import logging
from contextlib import suppress
from itertools import islice
from typing import Any

from fer_ray.errors import StoreLostError
from fer_ray.execution.chain import runs_in_process
from fer_ray.execution.signals import handle_sigterm, terminate
from fer_ray.pipelines.sweeps.context import SweepContext, SweepRequest, raise_if_stopped
from fer_ray.pipelines.sweeps.planning.labelled_listing import list_source
from fer_ray.pipelines.sweeps.planning.plan_work import plan_work, require_intact_source
from fer_ray.pipelines.sweeps.planning.prepare import prepare_sweep
from fer_ray.pipelines.sweeps.process import process_images
from fer_ray.pipelines.sweeps.publishing.manifest import build_manifest, measure_drift
from fer_ray.pipelines.sweeps.publishing.orphans import remove_orphans
from fer_ray.pipelines.sweeps.publishing.publish import publish
from fer_ray.pipelines.sweeps.publishing.rewrite import join_small_files
from fer_ray.report.sweep_metrics import render_metrics
from fer_ray.report.sweep_page import render_store_page, render_sweep_page
from fer_ray.sources import label_conflicts
from fer_ray.storage.archive import MIN_SWEEPS, SWEEPS
from fer_ray.storage.delta_store import ConflictError
from fer_ray.store_schemas import READINGS_SCHEMA
from fer_ray.vocabulary import ExitCode

# The fields of the manifest in the last line of the log.
LOGGED = ("sweep", "exit_code", "planned", "read", "described", "published", "statuses", "timings")

MAX_LISTED = 50  # latest sweeps on the page of the store

logger = logging.getLogger(__name__)


def run_sweep(request: SweepRequest) -> dict[str, Any]:
    """Update a store from its source; only new, changed and outdated images are processed.

    Returns:
        The manifest of the sweep, which is also in the store; `exit_code` is one of its fields.

    Raises:
        UserError: The source or the store cannot be read, or a model is missing. Finished results
            are committed, and the manifest is written if the store can still be written.

    Examples:
        >>> from fer_ray.pipelines.sweep import run_sweep
        >>> from fer_ray.pipelines.sweeps.context import SweepRequest
        >>> from fer_ray.settings.root import Settings
        >>> manifest = run_sweep(SweepRequest("photos", "store", Settings()))  # doctest: +SKIP
        >>> manifest["statuses"]  # doctest: +SKIP
        {'ok': 1204, 'no_face': 31, 'unreadable': 2}
    """
    with handle_sigterm(terminate), prepare_sweep(request) as sweep:
        try:
            _run_steps(sweep)
        except BaseException as problem:
            sweep.record.exit_code = _exit_code_of(problem)
            sweep.record.problem = str(problem) or type(problem).__name__
            if not isinstance(problem, StoreLostError):
                _write_manifest(sweep, finished=False)
            raise
        return _write_manifest(sweep, finished=True)


def _run_steps(sweep: SweepContext) -> None:
    record = sweep.record
    with record.timed("list"):
        list_source(sweep)
    with sweep.progress("plan", "", 0), record.timed("plan"):
        record.planned = plan_work(sweep)
        require_intact_source(sweep)
    if todo := sum(file.rows for file in sweep.files.todo):
        in_process = runs_in_process(sweep.settings.execution, todo)
        with record.timed("process"):
            process_images(sweep, start_ray=sweep.runner.in_process and not in_process)
    raise_if_stopped(sweep)
    with sweep.progress("publish", "", 0), record.timed("publish"):
        record.published = publish(sweep)
        _note_label_conflicts(sweep)
        sweep.store.archive.write_source(sweep.source.location)
    with record.timed("tidy"):
        _clean_up(sweep)
    record.statuses = dict(sorted(sweep.files.summary.statuses.items()))
    record.exit_code = int(_check_error_share(sweep))


def _note_label_conflicts(sweep: SweepContext) -> None:
    if sweep.files.summary.labelled:
        images, names = sweep.store.folder("images"), [*sweep.store.snapshot("images").files()]
        columns = label_conflicts.COLUMNS
        label_conflicts.note_conflicts(lambda: images.batches(names, columns), sweep.quality)


def _clean_up(sweep: SweepContext) -> None:
    """Remove unused results, compact small files, and delete manifests past the retention."""
    store, published, record = sweep.store, sweep.record.published, sweep.record
    # A generator, since each manifest is a file to read.
    finished = (manifest for manifest in store.archive.manifests() if manifest["finished"])
    newest = list(islice(finished, 1))
    waiting = any(manifest.get("results_waiting") for manifest in newest)
    if published.get("replaced") or published.get("delete") or waiting:
        remove_orphans(sweep, [manifest["sweep"] for manifest in (*newest, *finished)])
    readings = store.snapshot("readings")
    if files := readings.files():
        with suppress(ConflictError):  # a later sweep removes them
            store.commit(readings, [], READINGS_SCHEMA, sweep.commit_metadata, files)
    join_small_files(sweep)
    record.tables = {name: store.vacuum(name) for name in ("images", "results")}
    store.vacuum("readings")
    store.archive.prune_scratch(sweep.retention_start)
    keep = MIN_SWEEPS if sweep.settings.sweep.retention_hours else 0
    store.archive.prune(sweep.retention_start, keep)


def _check_error_share(sweep: SweepContext) -> ExitCode:
    share, limit = sweep.record.error_share, sweep.settings.sweep.max_error_share
    if share > limit:
        sweep.record.problem = (
            f"{share:.2%} of the images failed, more than --max-error-share ({limit:.2%}). All "
            "other images are published."
        )
        return ExitCode.TOO_MANY_ERRORS
    return ExitCode.DONE


def _exit_code_of(problem: BaseException) -> int:
    if isinstance(problem, SystemExit):
        return int(problem.code or 0)
    if isinstance(problem, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return int(getattr(problem, "exit_code", ExitCode.FAILED))


def _write_manifest(sweep: SweepContext, finished: bool) -> dict[str, Any]:
    """Write manifest and page of the sweep, page and metrics of the store; return the manifest."""
    manifest = build_manifest(sweep, finished)
    manifest["drift"] = []
    if finished:
        threshold = sweep.settings.sweep.drift_alert
        manifest["drift"] = measure_drift(manifest, sweep.store.archive.manifests(), threshold)
        for drift in manifest["drift"]:
            if drift["alert"]:
                logger.warning(
                    "drift: %s is %.3f, was %.3f", drift["name"], drift["share"], drift["before"]
                )
    name = f"{SWEEPS}/{sweep.record.sweep}"
    sweep.store.archive.write(f"{name}.html", render_sweep_page(manifest))
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    sweep.store.archive.write(f"{name}.json", text)
    latest = list(islice(sweep.store.archive.manifests(), MAX_LISTED))
    sweep.store.archive.write(f"{SWEEPS}/index.html", render_store_page(latest))
    sweep.store.archive.write(f"{SWEEPS}/metrics.prom", render_metrics(latest))
    figures = {field: manifest[field] for field in LOGGED}
    logger.info("sweep %s ended", manifest["sweep"], extra={"figures": figures})
    return manifest
