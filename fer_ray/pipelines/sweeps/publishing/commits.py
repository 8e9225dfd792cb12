"""Commits of finished files during a sweep, safe with other sweeps of the same store."""

import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.errors import StoreLostError
from fer_ray.pipelines.sweeps.block_files import RESULT_KEYS, BlockResult
from fer_ray.storage.delta_store import ConflictError
from fer_ray.storage.snapshot import Snapshot
from fer_ray.storage.table_folder import NewFile, unique_name
from fer_ray.store_schemas import READINGS_SCHEMA

if TYPE_CHECKING:
    from fer_ray.pipelines.sweeps.context import SweepContext

ATTEMPTS = 20  # per commit, while other sweeps commit first
MAX_PAUSE_S = 0.5  # after the first conflict; multiplied by the number of attempts
KEY = ["sha256", "recipe"]

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class Commits:
    """Collects the files of finished blocks and commits them by rows and by age.

    Another sweep may process the same contents at the same time. Delta Lake rejects a commit that
    is not based on the latest version. Rows that the other sweep has committed are then removed
    from the files, which are committed again. Results of retried contents replace earlier ones.

    Args:
        sweep: The sweep.
        on_commit: Called after each commit of results.
    """

    def __init__(self, sweep: "SweepContext", on_commit: Callable[[], None]) -> None:
        self._sweep, self._on_commit = sweep, on_commit
        version = sweep.files.results_version
        indexed = sweep.store.snapshot("results", version) if version >= 0 else None
        self._base = indexed or Snapshot("results", None, sweep.store.folder("results"))
        self._known = set(self._base.files())  # their contents are not processed again
        self._conflicted = False  # whether another sweep has committed
        self._results: list[NewFile] = []
        self._replacements: list[NewFile] = []
        self._readings: list[NewFile] = []
        self._n_rows = 0
        self._since = time.monotonic()

    def add(self, result: BlockResult) -> None:
        """Add the files of a block."""
        for file, files in (
            (result.results, self._results),
            (result.replacements, self._replacements),
            (result.readings, self._readings),
        ):
            files += [file] if file else []
        self._n_rows += sum(file.rows for file in (result.results, result.replacements) if file)

    def flush_if_due(self) -> None:
        """Commit all files if they have many rows or are old, unless the fuse is armed."""
        settings = self._sweep.settings.sweep
        late = time.monotonic() - self._since >= settings.commit_seconds
        if (late or self._n_rows >= settings.commit_rows) and not self._sweep.fuse.armed:
            self.flush()

    def flush(self) -> None:
        """Commit all files."""
        if self._results:
            self._retry(self._append)
        if self._replacements:
            self._retry(self._replace)
        self._flush_readings()
        self._results, self._replacements, self._n_rows = [], [], 0
        self._since = time.monotonic()

    def discard(self) -> None:
        """Delete the files that no commit contains."""
        self._sweep.store.folder("results").delete([file.name for file in self._results])
        self._sweep.store.folder("readings").delete([file.name for file in self._readings])
        self._results, self._readings = [], []

    def _retry(self, commit: Callable[[], None]) -> None:
        retry_commit(commit, self._sweep.store.uri, self._refresh)
        self._on_commit()

    def _refresh(self) -> None:
        self._base, self._conflicted = self._sweep.store.snapshot("results"), True

    def _append(self) -> None:
        sweep = self._sweep
        added = self._without_known() if self._conflicted else self._results
        if added:
            self._base = sweep.store.commit(self._base, added, sweep.schema, sweep.commit_metadata)
            sweep.record.result_commits += 1
        self._known |= {file.name for file in added}

    def _replace(self) -> None:
        """Replace failed results. A failed content has one row, which its first row replaces."""
        sweep = self._sweep
        names = [file.name for file in self._replacements]
        rows = pa.Table.from_batches(sweep.scratch.batches(names), sweep.schema)
        sweep.store.replace_rows(self._base, rows, (*KEY, "face_index"), sweep.commit_metadata)
        sweep.record.result_commits += 1
        self._base = sweep.store.snapshot("results")

    def _without_known(self) -> list[NewFile]:
        """The files without the contents that other sweeps have committed, rewritten if needed."""
        others = [name for name in self._base.files() if name not in self._known]
        folder, recipe = self._sweep.store.folder("results"), self._sweep.recipe.fingerprint
        known: set[str] = set()
        for batch in folder.batches(others, KEY, pc.field("recipe") == recipe):
            known |= set(batch["sha256"].to_pylist())
        remaining = []
        for file in self._results:
            rows = pa.Table.from_batches(folder.batches([file.name]), self._sweep.schema)
            new = rows.filter(pc.invert(pc.is_in(rows["sha256"], pa.array(known, pa.string()))))
            if new.num_rows == rows.num_rows:
                remaining.append(file)
            elif new.num_rows:
                remaining.append(folder.write(new, unique_name("results"), RESULT_KEYS))
        return remaining

    def _flush_readings(self) -> None:
        """Commit the readings; drop them if other sweeps keep committing first."""
        store, metadata = self._sweep.store, self._sweep.commit_metadata
        for attempt in range(ATTEMPTS if self._readings else 0):
            try:
                store.commit(store.snapshot("readings"), self._readings, READINGS_SCHEMA, metadata)
                break
            except ConflictError:
                _pause(attempt)
        self._readings = []


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
        f"Cannot commit to the store {uri}: other sweeps committed first at each of {ATTEMPTS} "
        "attempts. Rerun the command when fewer sweeps are running."
    )


def _pause(attempt: int) -> None:
    """Sleep for a random time, so that two sweeps do not collide again."""
    logger.info("another sweep committed first; retrying")
    time.sleep(random.uniform(0, MAX_PAUSE_S * (attempt + 1)))
