"""A sweep's commits of results, as they come; also beside another sweep."""

import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import StoreLostError
from fer_ray.pipelines.sweeps.describe import completed
from fer_ray.schemas import READINGS_SCHEMA
from fer_ray.storage.delta_store import ConflictError
from fer_ray.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import Sweep

ATTEMPTS = 20  # of a commit, while other sweeps are quicker
MOST_PAUSE_S = 0.5
MOST_READINGS = 1 << 18  # held at once

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class ResultCommits:
    """Holds finished rows and commits them by number and by time, each content once.

    Another sweep may have described the same contents meanwhile: Delta Lake refuses a commit that
    does not follow the version known here. Then what the other one has is dropped, and the rest
    tried again. Results of contents that are tried again take the place of those of before.

    Attributes:
        retried: The contents that are tried again.
    """

    def __init__(self, sweep: "Sweep", committed: Callable[[], None]) -> None:
        self._committed = committed
        self._sweep = sweep
        self._known = sweep.store.snapshot("results")
        self._alone = True  # until another sweep has committed
        self.retried = pa.array(sorted(sweep.ledger.retried()), pa.string())
        self._surprises: set[str] = set()  # contents that were found in the place of others
        self._fresh: list[pa.Table] = []
        self._again: list[pa.Table] = []
        self._rows = 0
        self._since = time.monotonic()

    def add(self, results: pa.Table, planned: set[str]) -> pa.Table:
        """Take the rows of contents that have none yet; commit once they are many or old.

        Args:
            results: Of a block.
            planned: Contents that the block was planned to hold.

        Returns:
            The rows that were taken.
        """
        settings, ledger = self._sweep.settings.sweep, self._sweep.ledger
        contents = set(results["sha256"].to_pylist())
        surprises = contents - planned
        doubled = (ledger.known(surprises) if surprises else set()) | contents & self._surprises
        self._surprises |= surprises
        if doubled:
            doubles = pc.is_in(results["sha256"], pa.array(doubled, pa.string()))
            results = results.filter(pc.invert(doubles))
        recipe = self._sweep.recipe.fingerprint
        rows = completed(results, self._sweep.schema, recipe, self._sweep.record.sweep)
        again = pc.is_in(rows["sha256"], self.retried)
        self._again.append(rows.filter(again))
        self._fresh.append(rows.filter(pc.invert(again)))
        self._rows += rows.num_rows
        ledger.described(rows)
        late = time.monotonic() - self._since >= settings.commit_seconds
        if (self._rows >= settings.commit_rows or late) and not self._sweep.fuse.armed:
            self.flush()
        return rows

    def flush(self) -> None:
        """Commit what is held."""
        if self._fresh:
            rows = pa.concat_tables(self._fresh)
            self._commit(rows if self._alone else without(rows, self._known), self._append)
            self._commit(pa.concat_tables(self._again), self._replace)
        self._fresh, self._again, self._rows = [], [], 0
        self._since = time.monotonic()

    def _commit(self, rows: pa.Table, how: Callable[[pa.Table], None]) -> None:
        left = rows

        def commit() -> None:
            if left.num_rows:
                how(left)
                self._sweep.record.commits += 1
                self._committed()

        def look_again() -> None:
            nonlocal left
            self._alone = False
            self._known = self._sweep.store.snapshot("results")
            if how == self._append:
                left = without(left, self._known)

        insist(commit, self._sweep.store.uri, look_again)

    def _append(self, rows: pa.Table) -> None:
        sweep = self._sweep
        self._known = sweep.store.append(self._known, rows, sweep.schema, sweep.meta)

    def _replace(self, rows: pa.Table) -> None:
        """A failed content has one row; its first row takes that one's place."""
        put = rows.append_column("operation", pa.array(["put"] * rows.num_rows, pa.string()))
        key = ("sha256", "recipe", "face_index")
        self._sweep.store.merge(self._known, put, key, self._sweep.meta)
        self._known = self._sweep.store.snapshot("results")


class ReadingCommits:
    """Commits what was read, now and then, so that a sweep that is cut short goes on there."""

    def __init__(self, sweep: "Sweep") -> None:
        self._sweep = sweep
        self._held: list[pa.Table] = []
        self._rows = 0
        self._since = time.monotonic()

    def add(self, found: pa.Table) -> None:
        """Take what was found; commit once it is many or old."""
        rows = found.filter(pc.is_valid(found["sha256"])).select(READINGS_SCHEMA.names)
        self._held.append(rows)
        self._rows += rows.num_rows
        late = time.monotonic() - self._since >= self._sweep.settings.sweep.commit_seconds
        if late or self._rows >= MOST_READINGS:
            self.flush()

    def flush(self) -> None:
        """Commit what is held; where other sweeps are always quicker, it is left."""
        rows = pa.concat_tables(self._held).cast(READINGS_SCHEMA) if self._rows else None
        for attempt in range(ATTEMPTS if rows else 0):
            try:
                store = self._sweep.store
                store.append(store.snapshot("readings"), rows, READINGS_SCHEMA, self._sweep.meta)
                break
            except ConflictError:
                _pause(attempt)
        self._held, self._rows, self._since = [], 0, time.monotonic()


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


def insist(
    commit: Callable[[], Result], uri: str, look_again: Callable[[], None] = lambda: None
) -> Result:
    """Try a commit until no other sweep is quicker.

    Args:
        commit: Raises `ConflictError` where one was.
        uri: Of the store.
        look_again: Called before another attempt.

    Raises:
        StoreLostError: Others were quicker time and again.
    """
    for attempt in range(ATTEMPTS):
        try:
            return commit()
        except ConflictError:
            _pause(attempt)
            look_again()
    raise StoreLostError(
        f"The store {uri}: other sweeps kept committing before this one. Run it again later."
    )


def _pause(attempt: int) -> None:
    """A while of random length, so that two do not meet again."""
    logger.info("another sweep was quicker; trying again")
    time.sleep(random.uniform(0, MOST_PAUSE_S * (attempt + 1)))
