"""Commits of results and readings during a sweep, safe with other sweeps of the same store."""

import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import StoreLostError
from fer_ray.pipelines.sweeps.describe import complete_rows
from fer_ray.schemas import READINGS_SCHEMA
from fer_ray.storage.delta_store import ConflictError
from fer_ray.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import SweepContext

ATTEMPTS = 20  # per commit, while other sweeps commit first
MAX_PAUSE_S = 0.5  # after the first conflict; multiplied by the number of attempts
MAX_READINGS = 1 << 18  # rows in memory

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class ResultCommits:
    """Buffers finished rows and commits them by count and by age, each content once.

    Another sweep may describe the same contents at the same time. Delta Lake rejects a commit that
    is not based on the latest version. Rows that the other sweep has committed are then dropped,
    and the remaining ones are committed again. Results of retried contents replace earlier ones.

    Args:
        sweep: The sweep.
        on_commit: Called after each commit.

    Attributes:
        retried: SHA-256 of the contents that failed before and are retried.
    """

    def __init__(self, sweep: "SweepContext", on_commit: Callable[[], None]) -> None:
        self.retried = pa.array(sorted(sweep.ledger.retried()), pa.string())
        self._sweep = sweep
        self._on_commit = on_commit
        self._snapshot = sweep.store.snapshot("results")
        self._conflicted = False  # whether another sweep has committed
        self._unplanned: set[str] = set()  # contents of images that changed after planning
        self._new_rows: list[pa.Table] = []
        self._retried_rows: list[pa.Table] = []
        self._n_rows = 0
        self._since = time.monotonic()

    def add(self, results: pa.Table, planned: set[str]) -> pa.Table:
        """Add the rows of contents that have none yet; commit if enough rows or time have passed.

        Args:
            results: Results of a block.
            planned: SHA-256 of the contents that were planned for the block.

        Returns:
            The rows that were added, complete.
        """
        settings, ledger = self._sweep.settings.sweep, self._sweep.ledger
        results = self._drop_duplicates(results, planned)
        recipe = self._sweep.recipe.fingerprint
        rows = complete_rows(results, self._sweep.schema, recipe, self._sweep.record.sweep)
        retried = pc.is_in(rows["sha256"], self.retried)
        self._retried_rows.append(rows.filter(retried))
        self._new_rows.append(rows.filter(pc.invert(retried)))
        self._n_rows += rows.num_rows
        ledger.add_results(rows)
        late = time.monotonic() - self._since >= settings.commit_seconds
        if (self._n_rows >= settings.commit_rows or late) and not self._sweep.fuse.armed:
            self.flush()
        return rows

    def _drop_duplicates(self, results: pa.Table, planned: set[str]) -> pa.Table:
        """Drop unplanned contents that have results, and planned ones that were added before."""
        contents = set(results["sha256"].to_pylist())
        unplanned = contents - planned
        known = self._sweep.ledger.with_results(unplanned) if unplanned else set()
        duplicates = known | contents & self._unplanned
        self._unplanned |= unplanned
        if not duplicates:
            return results
        is_duplicate = pc.is_in(results["sha256"], pa.array(duplicates, pa.string()))
        return results.filter(pc.invert(is_duplicate))

    def flush(self) -> None:
        """Commit the buffered rows."""
        if self._new_rows:
            rows = pa.concat_tables(self._new_rows)
            if self._conflicted:
                rows = exclude_known(rows, self._snapshot)
            self._commit(rows, self._append)
            self._commit(pa.concat_tables(self._retried_rows), self._replace)
        self._new_rows, self._retried_rows, self._n_rows = [], [], 0
        self._since = time.monotonic()

    def _commit(self, rows: pa.Table, write: Callable[[pa.Table], None]) -> None:
        remaining = rows

        def commit() -> None:
            if remaining.num_rows:
                write(remaining)
                self._sweep.record.result_commits += 1
                self._on_commit()

        def refresh() -> None:
            nonlocal remaining
            self._conflicted = True
            self._snapshot = self._sweep.store.snapshot("results")
            if write == self._append:
                remaining = exclude_known(remaining, self._snapshot)

        retry_commit(commit, self._sweep.store.uri, refresh)

    def _append(self, rows: pa.Table) -> None:
        sweep = self._sweep
        self._snapshot = sweep.store.append(
            self._snapshot, rows, sweep.schema, sweep.commit_metadata
        )

    def _replace(self, rows: pa.Table) -> None:
        """Replace failed results. A failed content has one row, which its first row replaces."""
        put = rows.append_column("operation", pa.array(["put"] * rows.num_rows, pa.string()))
        key = ("sha256", "recipe", "face_index")
        self._sweep.store.merge(self._snapshot, put, key, self._sweep.commit_metadata)
        self._snapshot = self._sweep.store.snapshot("results")


class ReadingCommits:
    """Regularly commits which contents were read, so that an interrupted sweep can resume."""

    def __init__(self, sweep: "SweepContext") -> None:
        self._sweep = sweep
        self._buffer: list[pa.Table] = []
        self._n_rows = 0
        self._since = time.monotonic()

    def add(self, outcomes: pa.Table) -> None:
        """Add rows of `READ_OUTCOME_SCHEMA`; commit if there are enough or the oldest is due."""
        rows = outcomes.filter(pc.is_valid(outcomes["sha256"])).select(READINGS_SCHEMA.names)
        self._buffer.append(rows)
        self._n_rows += rows.num_rows
        late = time.monotonic() - self._since >= self._sweep.settings.sweep.commit_seconds
        if late or self._n_rows >= MAX_READINGS:
            self.flush()

    def flush(self) -> None:
        """Commit the buffered rows; drop them if other sweeps keep committing first."""
        rows = pa.concat_tables(self._buffer).cast(READINGS_SCHEMA) if self._n_rows else None
        store, metadata = self._sweep.store, self._sweep.commit_metadata
        for attempt in range(ATTEMPTS if rows else 0):
            try:
                store.append(store.snapshot("readings"), rows, READINGS_SCHEMA, metadata)
                break
            except ConflictError:
                _pause(attempt)
        self._buffer, self._n_rows, self._since = [], 0, time.monotonic()


def exclude_known(rows: pa.Table, snapshot: Snapshot) -> pa.Table:
    """The rows of contents that have no results in `snapshot` with the same recipe."""
    known = set()
    contents = pc.unique(rows["sha256"])
    for batch in snapshot.batches(["sha256", "recipe"]):
        matches = pc.and_(
            pc.is_in(batch["sha256"], contents), pc.equal(batch["recipe"], rows["recipe"][0])
        )
        known |= set(batch.filter(matches)["sha256"].to_pylist())
    return rows.filter(pc.invert(pc.is_in(rows["sha256"], pa.array(known, pa.string()))))


def retry_commit(
    commit: Callable[[], Result], uri: str, refresh: Callable[[], None] = lambda: None
) -> Result:
    """Retry a commit for as long as other sweeps commit first.

    Args:
        commit: Raises `ConflictError` if another sweep has committed.
        uri: URI of the store, for the message.
        refresh: Called before each further attempt.

    Raises:
        StoreLostError: Other sweeps have committed first at every attempt.
    """
    for attempt in range(ATTEMPTS):
        try:
            return commit()
        except ConflictError:
            _pause(attempt)
            refresh()
    raise StoreLostError(
        f"The store {uri}: other sweeps committed first at each of {ATTEMPTS} attempts. Rerun the "
        "command when fewer sweeps are running."
    )


def _pause(attempt: int) -> None:
    """Sleep for a random time, so that two sweeps do not collide again."""
    logger.info("another sweep committed first; retrying")
    time.sleep(random.uniform(0, MAX_PAUSE_S * (attempt + 1)))
