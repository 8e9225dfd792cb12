"""What a sweep knows: its listing, the store's rows, and what is to be done about the difference.

All of it lies in a scratch database (DuckDB), which joins tables larger than its share of memory by
way of the disk: the driver's memory stays flat, however many images there are.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fer_ray.contracts import IMAGES_SCHEMA
from fer_ray.sweep import queries
from fer_ray.sweep.store import Snapshot

MEMORY = "384MB"
AT_ONCE = 8_192  # rows held outside the database
LISTING = pa.schema(
    [
        *(IMAGES_SCHEMA.field(name) for name in ("path", "size", "mtime_ns")),
        *(IMAGES_SCHEMA.field(name) for name in ("subject", "emotion", "label")),
    ]
)
IMAGE_COLUMNS = [
    *("path", "size", "mtime_ns", "sha256", "recipe", "status", "faces"),
    *("subject", "emotion", "label", "listed_ns"),
]
RESULT_COLUMNS = ["sha256", "recipe", "face_index", "status", "stage", "error", "predicted"]


class Ledger:
    """The scratch database of one sweep.

    Args:
        folder: For the database and what does not fit into memory.
        recipe: Fingerprint that rows are to have.
        sweep: Name of this sweep.
        listed_ns: When its listing began.
        gone: Whether rows of images that are gone are deleted or kept.
    """

    def __init__(self, folder: Path, recipe: str, sweep: str, listed_ns: int, gone: str) -> None:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY, "temp_directory": str(folder), "threads": "2",
        }  # fmt: skip
        self._db = duckdb.connect(str(folder / "ledger.duckdb"), config=settings)
        self._recipe = recipe
        self.images_version = -1
        self._run(queries.TABLES)
        self._run("INSERT INTO this VALUES (?, ?, ?, ?)", [recipe, sweep, listed_ns, gone])

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

    def described(self, rows: pa.Table) -> None:
        """Take up results; those of other recipes are passed over."""
        known = [name for name in RESULT_COLUMNS if name in rows.column_names]
        self._insert("result_rows", rows.select(known), "recipe = (SELECT recipe FROM this)")

    def plan(self, retry: str) -> dict[str, tuple[int, int]]:
        """Decide what is to be done; images and bytes by reason."""
        self._run(queries.PLAN, [self._recipe, retry, retry])
        self._run(queries.CHANGES)
        query = "SELECT kind, count(*), sum(size)::BIGINT FROM plan GROUP BY kind"
        return {kind: (count, size) for kind, count, size in self._rows(query)}

    def to_hash(self, block: int) -> Iterator[pa.Table]:
        """`path` and `size` of the images whose content is not known, in blocks."""
        return self._blocks(
            "SELECT path, size FROM plan WHERE kind NOT IN ('same', 'gone') AND sha256 IS NULL "
            "AND status IS NULL ORDER BY path", block
        )  # fmt: skip

    def to_describe(self, block: int) -> Iterator[pa.Table]:
        """`path` and `sha256` of one image of each content without results, in blocks."""
        return self._blocks(
            f"SELECT min(path) AS path, sha256 {queries.WANTED} ORDER BY path", block
        )

    def count_to_hash(self) -> int:
        """How many images `to_hash` gives."""
        return int(self._one(
            "SELECT count(*) FROM plan WHERE kind NOT IN ('same', 'gone') AND sha256 IS NULL "
            "AND status IS NULL"
        ))  # fmt: skip

    def count_to_describe(self) -> int:
        """How many images `to_describe` gives."""
        return int(self._one(f"SELECT count(*) FROM (SELECT sha256 {queries.WANTED})"))

    def settle(self, found: pa.Table) -> None:
        """What reading gave: `path`, `sha256`, and status, stage, error where it failed."""
        self._db.register("found", found)
        self._run(
            "UPDATE plan SET sha256 = f.sha256, status = f.status, stage = f.stage, "
            "error = f.error FROM found f WHERE plan.path = f.path"
        )
        self._db.unregister("found")

    def failed_contents(self) -> pa.Table:
        """`sha256` and `recipe` of what is to be tried again and has results."""
        return self._arrow(
            "SELECT DISTINCT sha256, (SELECT recipe FROM this) AS recipe FROM plan JOIN known "
            "USING (sha256) WHERE kind = 'failed'"
        )

    def forget(self, contents: pa.Table) -> None:
        """Drop the results of these contents."""
        self._db.register("contents", contents)
        self._run("DELETE FROM result_rows WHERE sha256 IN (SELECT sha256 FROM contents)")
        self._db.unregister("contents")

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

    def unknown(self, rows: pa.Table) -> pa.Table:
        """Those of some results whose content has none yet."""
        self._db.register("results", rows.select(["sha256"]))
        query = "SELECT DISTINCT sha256 FROM results JOIN result_rows USING (sha256)"
        known = self._arrow(query)["sha256"]
        self._db.unregister("results")
        return rows.filter(pc.invert(pc.is_in(rows["sha256"], known)))

    def stored(self) -> int:
        """Images that the store has."""
        return int(self._one("SELECT count(*) FROM images"))

    def statuses(self) -> dict[str, int]:
        """Images that the store has, by status."""
        return dict(self._rows("SELECT status, count(*) FROM images GROUP BY ALL ORDER BY ALL"))

    def classes(self) -> dict[str, int]:
        """Images that the store has, by the class that the model sees in the largest face."""
        return dict(self._rows(
            "SELECT predicted, count(*) FROM images JOIN result_rows USING (sha256) "
            "WHERE predicted IS NOT NULL AND face_index = 0 GROUP BY ALL ORDER BY ALL"
        ))  # fmt: skip

    def examples(self) -> list[dict[str, Any]]:
        """Images that could not be looked at: how many of each kind, with a few of them."""
        names = ("status", "error", "images", "examples")
        return [dict(zip(names, row, strict=True)) for row in self._rows(queries.EXAMPLES)]

    def release(self) -> None:
        """Keep in mind which contents the changes take an image from."""
        self._run(
            "CREATE OR REPLACE TABLE released AS SELECT DISTINCT i.sha256, i.recipe "
            "FROM changes c JOIN images i ON i.path = c.path WHERE i.sha256 IS NOT NULL"
        )

    def orphans(self, results: Snapshot, before: str) -> pa.Table:
        """`sha256` and `recipe` of results that no image has.

        Args:
            results: That the store has.
            before: Name of a sweep. What an older one left counts; of younger ones, only what was
                released, since another sweep may be about to publish the rest.
        """
        self._run("CREATE OR REPLACE TEMP TABLE keys (sha256 VARCHAR, recipe VARCHAR, old BOOLEAN)")
        for batch in results.batches(["sha256", "recipe", "sweep"]):
            rows = pa.table(batch)
            self._insert("keys", rows.append_column("old", pc.less(rows["sweep"], before)))
        return self._arrow(
            "SELECT DISTINCT sha256, recipe FROM keys ANTI JOIN images USING (sha256, recipe) "
            "WHERE old OR (sha256, recipe) IN (SELECT (sha256, recipe) FROM released)"
        )

    def _blocks(self, query: str, block: int) -> Iterator[pa.Table]:
        reader = self._db.cursor().sql(query).to_arrow_reader(AT_ONCE)
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
