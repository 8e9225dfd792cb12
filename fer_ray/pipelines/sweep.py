"""A sweep: list, plan, read, describe, publish, tidy, tell."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from fer_ray.errors import StoreLostError
from fer_ray.execution.guard import Describe
from fer_ray.execution.progress import Progress
from fer_ray.execution.signals import answered, terminate
from fer_ray.models.bundles.backbone_features import Asked
from fer_ray.pipelines.sweeps.context import Stop, Sweep, stop_here
from fer_ray.pipelines.sweeps.manifest import drift, manifest
from fer_ray.pipelines.sweeps.orphans import remove_orphans
from fer_ray.pipelines.sweeps.prepare import prepared, refuse_another_source
from fer_ray.pipelines.sweeps.publish import publish
from fer_ray.pipelines.sweeps.work import work
from fer_ray.report.sweep_page import sweep_page
from fer_ray.settings.root import Settings
from fer_ray.sources.sweep_labels import labels_of, note_unused
from fer_ray.storage.archive import SWEEPS
from fer_ray.vocabulary import ExitCode

# Of the manifest, in the last line of a log.
LOGGED = ("sweep", "exit_code", "planned", "read", "described", "published", "statuses", "timings")

logger = logging.getLogger(__name__)


def run_sweep(
    source: str,
    store: str,
    settings: Settings,
    progress: Progress,
    model: Path | None = None,
    weights: Asked = (),
    describe: Describe | None = None,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Bring the store in step with the source.

    Args:
        source: Path or URI of the images.
        store: Path or URI of the store; made if it is not there.
        settings: What defines the rows, and the policies of `sweep`.
        progress: Told what is done.
        model: A model bundle, whose answers are added and whose settings of extraction are taken.
        weights: Files of weights by backbone of the bundle; others are the backbone's own.
        describe: From the bytes of an image to its rows. None: the steps of extraction.
        stop: Ends the sweep in good order once set; SIGTERM sets it.

    Returns:
        The sweep's manifest, as the store keeps it; `exit_code` among it.

    Raises:
        UserError: The source or the store is lost, or a model missing; what was finished is
            committed, and the manifest written if the store still takes it.
    """
    with (
        answered(terminate),
        prepared(source, store, settings, progress, model, weights, describe, stop) as sweep,
    ):
        try:
            _sweep(sweep)
        except BaseException as problem:
            sweep.record.exit_code = _code(problem)
            sweep.record.problem = str(problem) or type(problem).__name__
            if not isinstance(problem, StoreLostError):
                _keep(sweep, final=False)
            raise
        return _keep(sweep, final=True)


def _code(problem: BaseException) -> int:
    if isinstance(problem, SystemExit):
        return int(problem.code or 0)
    if isinstance(problem, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return int(getattr(problem, "exit_code", ExitCode.FAILED))


def _keep(sweep: Sweep, final: bool) -> dict[str, Any]:
    """Write manifest and page into the store."""
    told = manifest(sweep, final)
    told["drift"] = []
    if final:
        alert_from = sweep.settings.sweep.drift_alert
        told["drift"] = drift(told, sweep.store.archive.manifests(), alert_from)
        for one in told["drift"]:
            if one["alert"]:
                logger.warning("drift: %s is %.3f, was %.3f", *list(one.values())[:3])
    sweep.store.archive.write(f"{SWEEPS}/{sweep.record.sweep}.html", sweep_page(told))
    text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    sweep.store.archive.write(f"{SWEEPS}/{sweep.record.sweep}.json", text)
    figures = {name: told[name] for name in LOGGED}
    logger.info("sweep %s ended", told["sweep"], extra={"figures": figures})
    return told


def _sweep(sweep: Sweep) -> None:
    record = sweep.record
    with record.timed("list"):
        look(sweep)
    with record.timed("plan"):
        record.planned = make_plan(sweep)
        refuse_another_source(sweep)
    todo = sweep.ledger.count_to_hash() + sweep.ledger.count_to_describe()
    if todo:
        with _on_ray(sweep):
            work(sweep)
    stop_here(sweep)
    with record.timed("publish"):
        record.published = publish(sweep)
        sweep.store.archive.keep_source(sweep.source.uri)
    with record.timed("tidy"):
        _tidy(sweep)
    record.statuses = sweep.ledger.statuses()
    record.exit_code = int(_verdict(sweep))


def look(sweep: Sweep) -> None:
    """List the source into the ledger."""
    labels = labels_of(sweep.source, sweep.quality)
    with sweep.progress("list", "images", 0) as advance:

        def rows() -> Iterator[tuple[Any, ...]]:
            for entry in sweep.source.entries(sweep.quality):
                advance(1)
                yield (*entry, *labels(entry.path))

        sweep.ledger.take_listing(rows())
    note_unused(labels, sweep.quality)


def make_plan(sweep: Sweep) -> dict[str, tuple[int, int]]:
    """Hold the listing against the store; images and bytes by what is to be done about them."""
    sweep.ledger.load_images(sweep.store.snapshot("images"))
    sweep.ledger.load_results(sweep.store.snapshot("results"))
    sweep.ledger.load_readings(sweep.store.snapshot("readings"))
    return sweep.ledger.plan()


@contextmanager
def _on_ray(sweep: Sweep) -> Iterator[None]:
    """Ray is there, and SIGTERM asks the sweep to end."""
    from fer_ray.execution.session import start_ray, workers_there

    start_ray(sweep.settings.execution)
    sweep.record.workers = workers_there(sweep.settings.execution)
    with answered(sweep.stop.set):
        yield


def _tidy(sweep: Sweep) -> None:
    """Drop what no image needs, join small files; another sweep at work may be quicker."""
    store, published, record = sweep.store, sweep.record.published, sweep.record
    finished = (one for one in store.archive.manifests() if one["finished"])  # each is read
    newest = list(islice(finished, 1))
    waiting = any(one.get("results_waiting") for one in newest)
    if published.get("replaced") or published.get("delete") or waiting:
        remove_orphans(sweep, [one["sweep"] for one in (*newest, *finished)])
    readings = store.snapshot("readings")
    if readings.table is not None and readings.table.count():
        store.clear(readings)
    record.tables = {
        name: store.tidy(name) | {"version": store.snapshot(name).version}
        for name in ("images", "results")
    }
    store.tidy("readings")
    store.archive.prune(sweep.oldest_kept)


def _verdict(sweep: Sweep) -> ExitCode:
    share = sweep.record.error_share
    if share > sweep.settings.sweep.max_error_share:
        sweep.record.problem = (
            f"{share:.2%} of the images failed; --max-error-share is "
            f"{sweep.settings.sweep.max_error_share:.2%}. All others are published."
        )
        return ExitCode.TOO_MANY_ERRORS
    return ExitCode.DONE
