"""A sweep's commits: results as they come, then the images, at once; also beside another sweep."""

import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.contracts import IMAGES_SCHEMA
from fer_ray.errors import StoreLostError
from fer_ray.sweep.describe import completed
from fer_ray.sweep.record import name_at
from fer_ray.sweep.store import ConflictError, Snapshot

if TYPE_CHECKING:
    from fer_ray.sweep.state import Sweep

ATTEMPTS = 20  # of a commit, while other sweeps are quicker
MOST_PAUSE_S = 0.5

logger = logging.getLogger(__name__)


class ResultCommits:
    """Holds finished rows and commits them by number and by time, each content once.

    Another sweep may have described the same contents meanwhile: Delta Lake refuses a commit that
    does not follow the version known here. Then what the other one has is dropped, and the rest
    tried again.
    """

    def __init__(self, sweep: "Sweep", committed: Callable[[], None]) -> None:
        self._committed = committed
        self._sweep = sweep
        self._known = sweep.store.snapshot("results")
        self._alone = True  # until another sweep has committed
        self._held: list[pa.Table] = []
        self._rows = 0
        self._since = time.monotonic()

    def add(self, results: pa.Table) -> None:
        """Take rows, and commit all held ones once they are many or old."""
        settings = self._sweep.settings.sweep
        results = self._sweep.ledger.unknown(results)
        recipe = self._sweep.recipe.fingerprint
        self._held.append(completed(results, self._sweep.schema, recipe, self._sweep.record.sweep))
        self._rows += results.num_rows
        self._sweep.ledger.described(self._held[-1])
        late = time.monotonic() - self._since >= settings.commit_seconds
        if self._rows >= settings.commit_rows or late:
            self.flush()

    def flush(self) -> None:
        """Commit what is held."""
        rows = pa.concat_tables(self._held) if self._held else None
        if rows is not None and not self._alone:
            rows = without(rows, self._known)
        for attempt in range(ATTEMPTS):
            if rows is None or not rows.num_rows:
                break
            try:
                self._known = self._sweep.store.append(
                    self._known, rows, self._sweep.schema, self._sweep.meta
                )
                self._sweep.record.commits += 1
                self._committed()
                break
            except ConflictError:
                _pause(attempt)
                self._alone = False
                self._known = self._sweep.store.snapshot("results")
                rows = without(rows, self._known)
        else:
            raise StoreLostError(_CROWDED.format(self._sweep.store.uri))
        self._held, self._rows, self._since = [], 0, time.monotonic()

    def forget_failed(self) -> None:
        """Remove the results of contents that are to be tried again."""
        contents = self._sweep.ledger.failed_contents()
        if contents.num_rows:
            remove(self._sweep, contents)
            self._sweep.ledger.forget(contents)
            self._known = self._sweep.store.snapshot("results")


_CROWDED = "The store {}: other sweeps kept committing before this one. Run it again later."


def without(rows: pa.Table, known: Snapshot) -> pa.Table:
    """The rows of contents that `known` has no results of under the same recipe."""
    theirs = set()
    mine = pc.unique(rows["sha256"])
    for batch in known.batches(["sha256", "recipe"]):
        same = pc.and_(
            pc.is_in(batch["sha256"], mine), pc.equal(batch["recipe"], rows["recipe"][0])
        )
        theirs |= set(batch.filter(same)["sha256"].to_pylist())
    return rows.filter(pc.invert(pc.is_in(rows["sha256"], pa.array(theirs, pa.string()))))


def publish(sweep: "Sweep") -> dict[str, int]:
    """Commit all changes of `images` at once; the numbers of rows put and deleted."""
    ledger = sweep.ledger
    for attempt in range(ATTEMPTS):
        base = sweep.store.snapshot("images")
        if base.version != ledger.images_version:  # another sweep has published since
            ledger.load_images(base)
        counts = ledger.count_changes()
        if not counts["put"] and not counts["delete"]:
            return counts
        ledger.release()
        try:
            _commit_images(sweep, base, counts)
            ledger.load_images(sweep.store.snapshot("images"))
            return counts
        except ConflictError:
            _pause(attempt)
    raise StoreLostError(_CROWDED.format(sweep.store.uri))


def _commit_images(sweep: "Sweep", base: Snapshot, counts: dict[str, int]) -> None:
    changes = sweep.ledger.changes()
    if counts["replaced"] or counts["delete"]:
        sweep.store.merge(base, changes, ("path",), sweep.meta)
        return
    rows = pa.RecordBatchReader.from_batches(
        IMAGES_SCHEMA,
        (
            pa.RecordBatch.from_arrays(
                [batch[field.name].cast(field.type) for field in IMAGES_SCHEMA],
                schema=IMAGES_SCHEMA,
            )
            for batch in changes
        ),
    )
    sweep.store.append(base, rows, IMAGES_SCHEMA, sweep.meta)


def remove_orphans(sweep: "Sweep") -> None:
    """Remove the results that this sweep's commit left without an image."""
    results = sweep.store.snapshot("results")
    keep = timedelta(hours=sweep.settings.sweep.retention_hours)
    keys = sweep.ledger.orphans(results, name_at(sweep.record.started - keep))
    if keys.num_rows:
        remove(sweep, keys)
        sweep.record.orphans = keys.num_rows


def remove(sweep: "Sweep", keys: Any) -> None:
    """Commit the removal of results, by `sha256` and `recipe`."""
    for attempt in range(ATTEMPTS):
        try:
            sweep.store.remove(sweep.store.snapshot("results"), keys, sweep.meta)
            return
        except ConflictError:
            _pause(attempt)
    raise StoreLostError(_CROWDED.format(sweep.store.uri))


def _pause(attempt: int) -> None:
    """A while of random length, so that two do not meet again."""
    logger.info("another sweep was quicker; trying again")
    time.sleep(random.uniform(0, MOST_PAUSE_S * (attempt + 1)))
