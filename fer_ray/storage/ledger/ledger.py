"""The ledger of a sweep: its listing, the rows of the store, and the work that follows from both.

Tables of the database: `context` (one row: `LedgerContext`), `listing` (the source), `images`,
`readings` and `result_rows` (the store), `plan` (a row per path: what to do, and what is known),
`retried` (contents to retry) and `outcomes` (results of reading, before `apply_outcomes`).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.schemas import IMAGES_SCHEMA, READINGS_SCHEMA
from fer_ray.storage.ledger import queries
from fer_ray.storage.ledger.scratch import BATCH_ROWS, Scratch
from fer_ray.storage.snapshot import Snapshot

LISTING = pa.schema(
    [
        *(IMAGES_SCHEMA.field(name) for name in ("path", "size", "mtime_ns")),
        pa.field("problem", pa.string()),  # why it cannot be read, if the listing shows that
        *(IMAGES_SCHEMA.field(name) for name in ("subject", "emotion", "label")),
    ]
)
IMAGE_COLUMNS = [
    *("path", "size", "mtime_ns", "sha256", "recipe", "status", "error", "faces"),
    *("subject", "emotion", "label", "listed_ns"),
]
RESULT_COLUMNS = ["sha256", "recipe", "face_index", "status", "stage", "error"]


class LedgerContext(NamedTuple):
    """Parameters of the queries of a sweep.

    Attributes:
        recipe: Fingerprint of the store recipe.
        sweep: Name of the sweep.
        listed_ns: When its listing began, in nanoseconds since 1970; later than that of any sweep
            that has published.
        gone: Whether rows of images that are gone are deleted: `delete` or `keep`.
        retry: Which failed images to retry: `none`, `unread` or `all`.
        max_bytes: Larger files are not read.
        reread: Share of the seemingly unchanged images that are read again.
    """

    recipe: str
    sweep: str
    listed_ns: int
    gone: str
    retry: str
    max_bytes: int
    reread: float


class Ledger:
    """The listing of a source and the rows of its store, in a scratch database.

    Args:
        folder: For the database, and for what does not fit into memory.
        context: The sweep.

    Attributes:
        scratch: The database.
        images_version: Version of the store's images that was loaded; -1: none.
        results_version: Version of the store's results that was loaded; -1: none.
    """

    def __init__(self, folder: Path, context: LedgerContext) -> None:
        self.scratch = Scratch(folder)
        self.images_version = self.results_version = -1
        self.scratch.run(queries.TABLES)
        self.scratch.run("INSERT INTO context VALUES (?, ?, ?, ?, ?, ?, ?)", context)

    def load_listing(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Load the listing: a stream of tuples with the columns of `LISTING`."""
        buffer: list[tuple[Any, ...]] = []
        for row in rows:
            buffer.append(row)
            if len(buffer) == BATCH_ROWS:
                self.scratch.insert("listing", _table(buffer))
                buffer.clear()
        self.scratch.insert("listing", _table(buffer))

    def load_images(self, images: Snapshot) -> None:
        """Load a version of the store's images, replacing the one loaded before."""
        self.scratch.run("DELETE FROM images")
        for batch in images.batches(IMAGE_COLUMNS):
            self.scratch.insert("images", pa.table(batch))
        self.images_version = images.version

    def load_results(self, results: Snapshot) -> None:
        """Load the results of this store recipe, replacing those loaded before."""
        self.scratch.run("DELETE FROM result_rows")
        for batch in results.batches(RESULT_COLUMNS):
            self.add_results(pa.table(batch))
        self.results_version = results.version

    def load_readings(self, readings: Snapshot) -> None:
        """Load what other sweeps have read and not published."""
        for batch in readings.batches(READINGS_SCHEMA.names):
            self.scratch.insert("readings", pa.table(batch))

    def add_results(self, rows: pa.Table) -> None:
        """Add results; those of other store recipes are ignored."""
        known = [name for name in RESULT_COLUMNS if name in rows.column_names]
        self.scratch.insert(
            "result_rows", rows.select(known), "recipe = (SELECT recipe FROM context)"
        )

    def plan(self) -> dict[str, tuple[int, int]]:
        """Plan the work.

        Returns:
            Number of images and their bytes, by kind (see `fer_ray.vocabulary.PLAN_KINDS`).
        """
        self.scratch.run(queries.PLAN)
        self.scratch.run(queries.CHANGES)
        self.scratch.run(queries.RETRIED)
        query = "SELECT kind, count(*), sum(size)::BIGINT FROM plan GROUP BY kind"
        return {kind: (count, size) for kind, count, size in self.scratch.rows(query)}

    def to_hash(self, size: int) -> Iterator[pa.Table]:
        """Yield `path`, `size`, `mtime_ns` of images of unknown content, in blocks of `size`."""
        query = f"SELECT path, size, mtime_ns {queries.TO_READ} ORDER BY path"
        return self.scratch.blocks(query, size)

    def to_describe(self, size: int) -> Iterator[pa.Table]:
        """Yield `path` and `sha256` of one image per content without results, in blocks."""
        query = f"SELECT min(path) AS path, sha256 {queries.TO_DESCRIBE} ORDER BY path"
        return self.scratch.blocks(query, size)

    def count_to_hash(self) -> int:
        """Count the images that `to_hash` yields."""
        return int(self.scratch.scalar(f"SELECT count(*) {queries.TO_READ}"))

    def count_to_describe(self) -> int:
        """Count the images that `to_describe` yields."""
        query = f"SELECT count(*) FROM (SELECT sha256 {queries.TO_DESCRIBE})"
        return int(self.scratch.scalar(query))

    def sample_to_do(self, count: int) -> list[str]:
        """Sample paths of images to process; the sample is the same each time."""
        query = (
            f"SELECT path FROM (SELECT path {queries.TO_READ} UNION ALL "
            f"SELECT min(path) {queries.TO_DESCRIBE}) ORDER BY hash(path), path LIMIT {count}"
        )
        return [path for (path,) in self.scratch.rows(query)]

    def sample_known(self, count: int) -> list[str]:
        """Sample paths of images that were read before; the sample is the same each time."""
        query = (
            "SELECT path FROM plan WHERE sha256 IS NOT NULL AND kind <> 'gone' "
            f"ORDER BY hash(path), path LIMIT {count}"
        )
        return [path for (path,) in self.scratch.rows(query)]

    def add_outcomes(self, outcomes: pa.Table) -> None:
        """Add results of reading: `path`, `sha256`, and status, stage, error where it failed.

        They enter the plan with `apply_outcomes`.
        """
        self.scratch.insert("outcomes", outcomes)

    def apply_outcomes(self) -> None:
        """Update the plan with all results of reading."""
        self.scratch.run(queries.APPLY_OUTCOMES)

    def retried(self) -> frozenset[str]:
        """Contents to retry, of which the store has results."""
        return frozenset(sha256 for (sha256,) in self.scratch.rows("SELECT sha256 FROM retried"))

    def count_changes(self) -> dict[str, int]:
        """Count the rows to `put` and `delete`, and those that are `replaced` in the store."""
        query = (
            "SELECT count(*) FILTER (operation = 'put'), count(*) FILTER (operation = 'delete'), "
            "count(i.path) FROM changes c LEFT JOIN images i ON i.path = c.path"
        )
        [(put, delete, replaced)] = self.scratch.rows(query)
        return {"put": put, "delete": delete, "replaced": replaced}

    def changes(self) -> pa.RecordBatchReader:
        """Stream the rows to publish, with their `operation`."""
        return self.scratch.reader("SELECT * FROM changes", BATCH_ROWS)

    def content_keys(self, limit: int) -> NDArray[np.uint64] | None:
        """The first 64 bits of the hash of each content with results.

        Returns:
            Sorted keys; None if there are more than `limit` contents.
        """
        count = int(self.scratch.scalar("SELECT count(DISTINCT sha256) FROM result_rows"))
        if count > limit:
            return None
        query = "SELECT DISTINCT ('0x' || left(sha256, 16))::UBIGINT AS key FROM result_rows"
        keys: NDArray[np.uint64] = self.scratch.arrow(query)["key"].to_numpy()
        return np.sort(keys)

    def with_results(self, contents: set[str]) -> set[str]:
        """Select the contents that have results; scans all results."""
        query = "SELECT DISTINCT sha256 FROM result_rows WHERE sha256 IN (SELECT unnest(?))"
        return {sha256 for (sha256,) in self.scratch.rows(query, [sorted(contents)])}

    def count_stored(self) -> int:
        """Count the images of the store."""
        return int(self.scratch.scalar("SELECT count(*) FROM images"))

    def statuses(self) -> dict[str, int]:
        """Count the images of the store by status."""
        return dict(
            self.scratch.rows("SELECT status, count(*) FROM images GROUP BY ALL ORDER BY ALL")
        )

    def failure_examples(self) -> list[dict[str, Any]]:
        """Count images that could not be processed by status and error, with example paths."""
        names = ("status", "error", "images", "examples")
        return [dict(zip(names, row, strict=True)) for row in self.scratch.rows(queries.EXAMPLES)]

    def count_labelled(self) -> tuple[int, int]:
        """Count images with a label or subject: in the listing, and in the store."""
        return (
            int(self.scratch.scalar(f"SELECT {queries.LABELLED} FROM listing")),
            int(self.scratch.scalar(f"SELECT {queries.LABELLED} FROM images")),
        )

    def gone_examples(self, count: int) -> list[str]:
        """The first paths, in order, of images that are no longer in the source."""
        query = f"SELECT path FROM plan WHERE kind = 'gone' ORDER BY path LIMIT {count}"
        return [path for (path,) in self.scratch.rows(query)]

    def close(self) -> None:
        """Close the database."""
        self.scratch.close()


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(LISTING)
    return pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, LISTING, strict=True)], schema=LISTING
    )
