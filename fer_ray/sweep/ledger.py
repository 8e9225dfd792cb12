"""What a sweep knows: its listing, the store's rows, and what is to be done about the difference.

All of it lies in a scratch database (DuckDB), which joins tables larger than its share of memory by
way of the disk: the driver's memory stays flat, however many images there are.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_ray.contracts import IMAGES_SCHEMA, READINGS_SCHEMA
from fer_ray.sweep import queries
from fer_ray.sweep.store import Snapshot

MEMORY = "384MB"
AT_ONCE = 8_192  # rows held outside the database
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
    """The scratch database of one sweep.

    Args:
        folder: For the database and what does not fit into memory.
        this: Of this sweep.
    """

    def __init__(self, folder: Path, this: This) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY, "temp_directory": str(folder), "threads": "2",
        }  # fmt: skip
        self._db = duckdb.connect(str(folder / "ledger.duckdb"), config=settings)
        self.images_version = self.results_version = -1
        self._run(queries.TABLES)
        self._run("INSERT INTO this VALUES (?, ?, ?, ?, ?, ?, ?)", this)

    def take_listing(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take up the listing: tuples of `LISTING`'s columns, as a stream."""
        held: list[tuple[Any, ...]] = []
        for row in rows:
            held.append(row)
            if len(held) == AT_ONCE:
                self._insert("listing", _table(held))
                held.clear()
        self._insert("listing", _table(held))

    def load_images(self, images: Snapshot) -> None:
        """Take up the store's images of that version, in the place of any before."""
        self._run("DELETE FROM images")
        for batch in images.batches(IMAGE_COLUMNS):
            self._insert("images", pa.table(batch))
        self.images_version = images.version

    def load_results(self, results: Snapshot) -> None:
        """Take up what contents gave under this recipe, in the place of what was known."""
        self._run("DELETE FROM result_rows")
        for batch in results.batches(RESULT_COLUMNS):
            self.described(pa.table(batch))
        self.results_version = results.version

    def load_readings(self, readings: Snapshot) -> None:
        """Take up what other sweeps have read and did not come to publish."""
        for batch in readings.batches(READINGS_SCHEMA.names):
            self._insert("readings", pa.table(batch))

    def described(self, rows: pa.Table) -> None:
        """Take up results; those of other recipes are passed over."""
        known = [name for name in RESULT_COLUMNS if name in rows.column_names]
        self._insert("result_rows", rows.select(known), "recipe = (SELECT recipe FROM this)")

    def plan(self) -> dict[str, tuple[int, int]]:
        """Decide what is to be done; images and bytes by reason."""
        self._run(queries.PLAN)
        self._run(queries.CHANGES)
        self._run(queries.RETRIED)
        query = "SELECT kind, count(*), sum(size)::BIGINT FROM plan GROUP BY kind"
        return {kind: (count, size) for kind, count, size in self._rows(query)}

    def to_hash(self, block: int) -> Iterator[pa.Table]:
        """`path`, `size`, `mtime_ns` of the images whose content is not known, in blocks."""
        query = f"SELECT path, size, mtime_ns {queries.TO_READ} ORDER BY path"
        return self._blocks(query, block)

    def to_describe(self, block: int) -> Iterator[pa.Table]:
        """`path` and `sha256` of one image of each content without results, in blocks."""
        query = f"SELECT min(path) AS path, sha256 {queries.TO_DESCRIBE} ORDER BY path"
        return self._blocks(query, block)

    def count_to_hash(self) -> int:
        """How many images `to_hash` gives."""
        return int(self._one(f"SELECT count(*) {queries.TO_READ}"))

    def count_to_describe(self) -> int:
        """How many images `to_describe` gives."""
        return int(self._one(f"SELECT count(*) FROM (SELECT sha256 {queries.TO_DESCRIBE})"))

    def some_to_do(self, count: int) -> list[str]:
        """Paths of images to do, drawn by chance, the same ones each time."""
        query = (
            f"SELECT path FROM (SELECT path {queries.TO_READ} UNION ALL "
            f"SELECT min(path) {queries.TO_DESCRIBE}) ORDER BY hash(path), path LIMIT {count}"
        )
        return [path for (path,) in self._rows(query)]

    def some_known(self, count: int) -> list[str]:
        """Paths of images whose content is known, so that they could be read once; by chance."""
        query = (
            "SELECT path FROM plan WHERE sha256 IS NOT NULL AND kind <> 'gone' "
            f"ORDER BY hash(path), path LIMIT {count}"
        )
        return [path for (path,) in self._rows(query)]

    def settle(self, found: pa.Table) -> None:
        """What reading gave: `path`, `sha256`, and status, stage, error where it failed.

        The plan knows of it after `take_found`.
        """
        self._insert("found", found)

    def take_found(self) -> None:
        """Write into the plan all that was settled."""
        self._run(queries.TAKE_FOUND)

    def retried(self) -> frozenset[str]:
        """Contents that are tried again; the store has results of them."""
        return frozenset(sha256 for (sha256,) in self._rows("SELECT sha256 FROM retried"))

    def count_changes(self) -> dict[str, int]:
        """Rows to put or delete, and `replaced`: those of them that the store has."""
        query = (
            "SELECT count(*) FILTER (operation = 'put'), count(*) FILTER (operation = 'delete'), "
            "count(i.path) FROM changes c LEFT JOIN images i ON i.path = c.path"
        )
        [(put, delete, replaced)] = self._rows(query)
        return {"put": put, "delete": delete, "replaced": replaced}

    def changes(self) -> pa.RecordBatchReader:
        """The rows to publish, with their `operation`, as a stream."""
        return self._db.cursor().sql("SELECT * FROM changes").to_arrow_reader(AT_ONCE)

    def keys(self, most: int) -> NDArray[np.uint64] | None:
        """The first 64 bits of all contents with results, sorted; None if they are too many."""
        count = int(self._one("SELECT count(DISTINCT sha256) FROM result_rows"))
        if count > most:
            return None
        query = "SELECT DISTINCT ('0x' || left(sha256, 16))::UBIGINT AS key FROM result_rows"
        found: NDArray[np.uint64] = self._arrow(query)["key"].to_numpy()
        return np.sort(found)

    def known(self, contents: set[str]) -> set[str]:
        """Those of some contents that have results; looks at all that are known."""
        query = "SELECT DISTINCT sha256 FROM result_rows WHERE sha256 IN (SELECT unnest(?))"
        return {sha256 for (sha256,) in self._db.execute(query, [sorted(contents)]).fetchall()}

    def stored(self) -> int:
        """Images that the store has."""
        return int(self._one("SELECT count(*) FROM images"))

    def statuses(self) -> dict[str, int]:
        """Images that the store has, by status."""
        return dict(self._rows("SELECT status, count(*) FROM images GROUP BY ALL ORDER BY ALL"))

    def examples(self) -> list[dict[str, Any]]:
        """Images that could not be looked at: how many of each kind, with a few of them."""
        names = ("status", "error", "images", "examples")
        return [dict(zip(names, row, strict=True)) for row in self._rows(queries.EXAMPLES)]

    def labelled(self) -> tuple[int, int]:
        """Images with a label or subject: as listed, and in the store."""
        return (
            int(self._one(f"SELECT {queries.LABELLED} FROM listing")),
            int(self._one(f"SELECT {queries.LABELLED} FROM images")),
        )

    def gone_examples(self, count: int) -> list[str]:
        """Some paths of images that are gone from the source."""
        query = f"SELECT path FROM plan WHERE kind = 'gone' ORDER BY path LIMIT {count}"
        return [path for (path,) in self._rows(query)]

    def in_use(self, rows: Iterable[pa.RecordBatch]) -> None:
        """Keep in mind contents (`sha256`, `recipe`) that readers of the store may look for."""
        self._run("CREATE TABLE IF NOT EXISTS in_use (sha256 VARCHAR, recipe VARCHAR)")
        for batch in rows:
            self._insert("in_use", pa.table(batch))

    def find_orphans(self, results: Snapshot, before: str, finished: list[str]) -> int:
        """Find results that no image has, for `orphans`; how many more are `in_use`.

        Args:
            results: That the store has.
            before: Name of a sweep. What older ones left counts.
            finished: Sweeps that came to their end: what these left counts, too. Another one may
                be about to publish the rest.
        """
        self.in_use(())
        self._run("CREATE OR REPLACE TEMP TABLE keys (sha256 VARCHAR, recipe VARCHAR)")
        done = pa.array(finished, pa.string())
        for batch in results.batches(["sha256", "recipe", "sweep"]):
            settled = pc.or_(pc.less(batch["sweep"], before), pc.is_in(batch["sweep"], done))
            self._insert("keys", pa.table(batch.filter(settled)))
        query = "SELECT DISTINCT sha256, recipe FROM keys ANTI JOIN images USING (sha256, recipe)"
        self._run(f"CREATE OR REPLACE TABLE orphans AS {query}")
        found = int(self._one("SELECT count(*) FROM orphans"))
        self._run("DELETE FROM orphans o USING in_use u "
                  "WHERE o.sha256 = u.sha256 AND o.recipe = u.recipe")  # fmt: skip
        return found - int(self._one("SELECT count(*) FROM orphans"))

    def orphans(self, most: int) -> Iterator[pa.Table]:
        """`sha256` and `recipe` of the results that `find_orphans` found, so many at once."""
        return self._blocks("SELECT * FROM orphans", most)

    def _blocks(self, query: str, block: int) -> Iterator[pa.Table]:
        reader = self._db.cursor().sql(query).to_arrow_reader(max(AT_ONCE, block))
        for batch in reader:
            table = pa.table(batch)
            for start in range(0, table.num_rows, block):
                yield table.slice(start, block)

    def _insert(self, name: str, rows: pa.Table, where: str = "true") -> None:
        self._db.register("incoming", rows)
        columns = {row[0]: None for row in self._rows(f"DESCRIBE {name}")}
        chosen = ", ".join(column for column in rows.column_names if column in columns)
        self._run(f"INSERT INTO {name} ({chosen}) SELECT {chosen} FROM incoming WHERE {where}")
        self._db.unregister("incoming")

    def _run(self, query: str, values: Iterable[Any] = ()) -> None:
        self._db.execute(queries.filled(query), list(values))

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._db.execute(queries.filled(query)).fetchall()

    def _one(self, query: str) -> Any:
        return self._rows(query)[0][0]

    def _arrow(self, query: str) -> pa.Table:
        return self._db.sql(queries.filled(query)).to_arrow_table()

    def close(self) -> None:
        """Leave the database."""
        self._db.close()


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(LISTING)
    return pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, LISTING, strict=True)], schema=LISTING
    )
