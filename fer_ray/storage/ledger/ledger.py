"""What a sweep knows: the listing, the rows of the store, and what is to be done about it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_ray.schemas import IMAGES_SCHEMA, READINGS_SCHEMA
from fer_ray.storage.ledger import queries
from fer_ray.storage.ledger.scratch import AT_ONCE, Scratch
from fer_ray.storage.snapshot import Snapshot

LISTING = pa.schema(
    [
        *(IMAGES_SCHEMA.field(name) for name in ("path", "size", "mtime_ns")),
        pa.field("problem", pa.string()),  # why it cannot be read, if that shows already
        *(IMAGES_SCHEMA.field(name) for name in ("subject", "emotion", "label")),
    ]
)
IMAGE_COLUMNS = [
    *("path", "size", "mtime_ns", "sha256", "recipe", "status", "error", "faces"),
    *("subject", "emotion", "label", "listed_ns"),
]
RESULT_COLUMNS = ["sha256", "recipe", "face_index", "status", "stage", "error"]


class This(NamedTuple):
    """What a sweep's queries ask of it.

    Attributes:
        recipe: Fingerprint that rows are to have.
        sweep: Its name.
        listed_ns: When its listing began; later than that of any sweep that has published.
        gone: Whether rows of images that are gone are deleted or kept.
        retry: Which failed images are tried again.
        max_bytes: Larger files are not read.
        reread: Share of the images that look unchanged and are read again.
    """

    recipe: str
    sweep: str
    listed_ns: int
    gone: str
    retry: str
    max_bytes: int
    reread: float


class Ledger:
    """All that one sweep knows, in a scratch database.

    Args:
        folder: For the database and what does not fit into memory.
        this: Of this sweep.

    Attributes:
        scratch: The database.
        images_version: Of the store's images that were taken up; -1: none.
        results_version: Likewise of its results.
    """

    def __init__(self, folder: Path, this: This) -> None:
        self.scratch = Scratch(folder)
        self.images_version = self.results_version = -1
        self.scratch.run(queries.TABLES)
        self.scratch.run("INSERT INTO this VALUES (?, ?, ?, ?, ?, ?, ?)", this)

    def take_listing(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take up the listing: tuples of `LISTING`'s columns, as a stream."""
        held: list[tuple[Any, ...]] = []
        for row in rows:
            held.append(row)
            if len(held) == AT_ONCE:
                self.scratch.insert("listing", _table(held))
                held.clear()
        self.scratch.insert("listing", _table(held))

    def load_images(self, images: Snapshot) -> None:
        """Take up the store's images of that version, in the place of any before."""
        self.scratch.run("DELETE FROM images")
        for batch in images.batches(IMAGE_COLUMNS):
            self.scratch.insert("images", pa.table(batch))
        self.images_version = images.version

    def load_results(self, results: Snapshot) -> None:
        """Take up what contents gave under this recipe, in the place of what was known."""
        self.scratch.run("DELETE FROM result_rows")
        for batch in results.batches(RESULT_COLUMNS):
            self.described(pa.table(batch))
        self.results_version = results.version

    def load_readings(self, readings: Snapshot) -> None:
        """Take up what other sweeps have read and did not come to publish."""
        for batch in readings.batches(READINGS_SCHEMA.names):
            self.scratch.insert("readings", pa.table(batch))

    def described(self, rows: pa.Table) -> None:
        """Take up results; those of other recipes are passed over."""
        known = [name for name in RESULT_COLUMNS if name in rows.column_names]
        self.scratch.insert("result_rows", rows.select(known), "recipe = (SELECT recipe FROM this)")

    def plan(self) -> dict[str, tuple[int, int]]:
        """Decide what is to be done; images and bytes by reason."""
        self.scratch.run(queries.PLAN)
        self.scratch.run(queries.CHANGES)
        self.scratch.run(queries.RETRIED)
        query = "SELECT kind, count(*), sum(size)::BIGINT FROM plan GROUP BY kind"
        return {kind: (count, size) for kind, count, size in self.scratch.rows(query)}

    def to_hash(self, block: int) -> Iterator[pa.Table]:
        """`path`, `size`, `mtime_ns` of the images whose content is not known, in blocks."""
        query = f"SELECT path, size, mtime_ns {queries.TO_READ} ORDER BY path"
        return self.scratch.blocks(query, block)

    def to_describe(self, block: int) -> Iterator[pa.Table]:
        """`path` and `sha256` of one image of each content without results, in blocks."""
        query = f"SELECT min(path) AS path, sha256 {queries.TO_DESCRIBE} ORDER BY path"
        return self.scratch.blocks(query, block)

    def count_to_hash(self) -> int:
        """How many images `to_hash` gives."""
        return int(self.scratch.one(f"SELECT count(*) {queries.TO_READ}"))

    def count_to_describe(self) -> int:
        """How many images `to_describe` gives."""
        return int(self.scratch.one(f"SELECT count(*) FROM (SELECT sha256 {queries.TO_DESCRIBE})"))

    def some_to_do(self, count: int) -> list[str]:
        """Paths of images to do, drawn by chance, the same ones each time."""
        query = (
            f"SELECT path FROM (SELECT path {queries.TO_READ} UNION ALL "
            f"SELECT min(path) {queries.TO_DESCRIBE}) ORDER BY hash(path), path LIMIT {count}"
        )
        return [path for (path,) in self.scratch.rows(query)]

    def some_known(self, count: int) -> list[str]:
        """Paths of images whose content is known, so that they could be read once; by chance."""
        query = (
            "SELECT path FROM plan WHERE sha256 IS NOT NULL AND kind <> 'gone' "
            f"ORDER BY hash(path), path LIMIT {count}"
        )
        return [path for (path,) in self.scratch.rows(query)]

    def settle(self, found: pa.Table) -> None:
        """What reading gave: `path`, `sha256`, and status, stage, error where it failed.

        The plan knows of it after `take_found`.
        """
        self.scratch.insert("found", found)

    def take_found(self) -> None:
        """Write into the plan all that was settled."""
        self.scratch.run(queries.TAKE_FOUND)

    def retried(self) -> frozenset[str]:
        """Contents that are tried again; the store has results of them."""
        return frozenset(sha256 for (sha256,) in self.scratch.rows("SELECT sha256 FROM retried"))

    def count_changes(self) -> dict[str, int]:
        """Rows to put or delete, and `replaced`: those of them that the store has."""
        query = (
            "SELECT count(*) FILTER (operation = 'put'), count(*) FILTER (operation = 'delete'), "
            "count(i.path) FROM changes c LEFT JOIN images i ON i.path = c.path"
        )
        [(put, delete, replaced)] = self.scratch.rows(query)
        return {"put": put, "delete": delete, "replaced": replaced}

    def changes(self) -> pa.RecordBatchReader:
        """The rows to publish, with their `operation`, as a stream."""
        return self.scratch.reader("SELECT * FROM changes", AT_ONCE)

    def keys(self, most: int) -> NDArray[np.uint64] | None:
        """The first 64 bits of all contents with results, sorted; None if they are too many."""
        count = int(self.scratch.one("SELECT count(DISTINCT sha256) FROM result_rows"))
        if count > most:
            return None
        query = "SELECT DISTINCT ('0x' || left(sha256, 16))::UBIGINT AS key FROM result_rows"
        found: NDArray[np.uint64] = self.scratch.arrow(query)["key"].to_numpy()
        return np.sort(found)

    def known(self, contents: set[str]) -> set[str]:
        """Those of some contents that have results; looks at all that are known."""
        query = "SELECT DISTINCT sha256 FROM result_rows WHERE sha256 IN (SELECT unnest(?))"
        return {sha256 for (sha256,) in self.scratch.rows(query, [sorted(contents)])}

    def stored(self) -> int:
        """Images that the store has."""
        return int(self.scratch.one("SELECT count(*) FROM images"))

    def statuses(self) -> dict[str, int]:
        """Images that the store has, by status."""
        return dict(
            self.scratch.rows("SELECT status, count(*) FROM images GROUP BY ALL ORDER BY ALL")
        )

    def examples(self) -> list[dict[str, Any]]:
        """Images that could not be looked at: how many of each kind, with a few of them."""
        names = ("status", "error", "images", "examples")
        return [dict(zip(names, row, strict=True)) for row in self.scratch.rows(queries.EXAMPLES)]

    def labelled(self) -> tuple[int, int]:
        """Images with a label or subject: as listed, and in the store."""
        return (
            int(self.scratch.one(f"SELECT {queries.LABELLED} FROM listing")),
            int(self.scratch.one(f"SELECT {queries.LABELLED} FROM images")),
        )

    def gone_examples(self, count: int) -> list[str]:
        """Some paths of images that are gone from the source."""
        query = f"SELECT path FROM plan WHERE kind = 'gone' ORDER BY path LIMIT {count}"
        return [path for (path,) in self.scratch.rows(query)]

    def close(self) -> None:
        """Leave the database."""
        self.scratch.close()


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(LISTING)
    return pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, LISTING, strict=True)], schema=LISTING
    )
