"""The store: Delta Lake tables and what sweeps tell of themselves. docs/architecture.md: why.

`results` holds what each content gave under a recipe, and grows while a sweep runs. `images` says
which image has which content, and is changed by one commit at a sweep's end; until then no reader
sees any of it. `readings` holds which contents a sweep has read, should it not come to its end.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from fer_ray.storage.archive import Archive
from fer_ray.storage.snapshot import Name, Snapshot
from fer_ray.storage.uris import lost_on_error, opened, require_store, without_secret

# Commits of sweeps carry this id and the next number: of two at once Delta Lake refuses the later.
WRITER = "fer-ray-sweep"
ROW_GROUP = 4_096
WRITING = WriterProperties(compression="ZSTD", max_row_group_size=ROW_GROUP)
COMPACT_FROM = 8  # files, where half of them would do
SMALL_FILE_BYTES = 33_554_432
TARGET_FILE_BYTES = 268_435_456
MOST_VERSIONS = 1_000  # of the last hour that are looked at
RETENTION = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")


class ConflictError(Exception):
    """Another sweep has committed since the version that this one knows."""


class Store:
    """A store at a path or URI (`s3://bucket/prefix`, …).

    Args:
        uri: Where it is.
        retention_hours: For which earlier versions can be read again.

    Raises:
        UserError: No store can be made at such a place.
        StoreLostError: By any method: it cannot be read or written.
    """

    def __init__(self, uri: str, retention_hours: int = 168) -> None:
        require_store(uri)
        self._at = uri.rstrip("/") if "://" in uri else str(Path(uri).resolve())
        self.uri = without_secret(self._at)
        self._hours = retention_hours
        with lost_on_error(self.uri):
            self.archive = Archive(self.uri, *opened(self._at))

    def snapshot(self, name: Name, version: int | None = None) -> Snapshot:
        """The newest version of a table, or the one asked for."""
        with lost_on_error(self.uri):
            try:
                return Snapshot(name, DeltaTable(self._table_uri(name), version=version))
            except TableNotFoundError:
                return Snapshot(name, None)

    def append(
        self, since: Snapshot, rows: Any, schema: pa.Schema, meta: dict[str, str]
    ) -> Snapshot:
        """Commit rows (a table or a stream of batches); the version with them.

        Raises:
            ConflictError: Another sweep has committed since that version.
        """
        with self._committing():
            if since.table is None:
                return self._create(since.name, rows, schema, meta)
            write_deltalake(
                since.table, rows, mode="append", schema_mode="merge",
                writer_properties=WRITING, target_file_size=TARGET_FILE_BYTES,
                commit_properties=_stamp(since, meta),
            )  # fmt: skip
        return since  # delta-rs has moved it to this commit, and to none of another sweep's

    def merge(
        self, since: Snapshot, changes: Any, key: tuple[str, ...], meta: dict[str, str]
    ) -> None:
        """Commit `changes` at once: by `operation`, rows are put or deleted.

        Raises:
            ConflictError: Another sweep has committed since that version.
        """
        assert since.table is not None
        matching = " AND ".join(f"t.{column} = s.{column}" for column in key)
        with self._committing():
            (
                since.table.merge(
                    changes, matching, source_alias="s", target_alias="t",
                    writer_properties=WRITING, commit_properties=_stamp(since, meta),
                )
                .when_matched_delete("s.operation = 'delete'")
                .when_matched_update_all("s.operation = 'put'", except_cols=["operation"])
                .when_not_matched_insert_all("s.operation = 'put'", except_cols=["operation"])
                .execute()
            )  # fmt: skip

    def remove(self, since: Snapshot, keys: Any, meta: dict[str, str]) -> None:
        """Commit the removal of all results of these `sha256` and `recipe`.

        Raises:
            ConflictError: Another sweep has committed since that version.
        """
        assert since.table is not None
        with self._committing():
            since.table.merge(
                keys, "t.sha256 = s.sha256 AND t.recipe = s.recipe",
                source_alias="s", target_alias="t",
                writer_properties=WRITING, commit_properties=_stamp(since, meta),
            ).when_matched_delete().execute()  # fmt: skip

    def clear(self, since: Snapshot) -> None:
        """Commit that a table has no rows any more; if another sweep is quicker, they stay."""
        if since.table is not None:
            with lost_on_error(self.uri), suppress(CommitFailedError):
                since.table.delete()

    def tidy(self, name: Name) -> dict[str, int]:
        """Join small files, drop those that no version within the retention needs."""
        known = self.snapshot(name)
        if known.table is None:
            return {}
        gone: list[str] = []
        with lost_on_error(self.uri), suppress(CommitFailedError):
            self._keep_retention(known.table)
            if _scattered(known.table):
                known.table.optimize.compact(
                    target_size=TARGET_FILE_BYTES, writer_properties=WRITING
                )
            gone = known.table.vacuum(
                self._hours, dry_run=False, enforce_retention_duration=False, full=True
            )  # not full: only what was removed since the last checkpoint
            known.table.cleanup_metadata()
        return {"files": len(self.snapshot(name).files()), "files_vacuumed": len(gone)}

    def versions(self, name: Name, since: datetime) -> list[int]:
        """Versions of a table that were the newest one at any moment since then."""
        table = self.snapshot(name).table
        if table is None:
            return []
        with lost_on_error(self.uri):
            found = []
            for told in table.history(MOST_VERSIONS):
                found.append(int(told["version"]))
                if told.get("timestamp", 0) / 1e3 <= since.timestamp():
                    break
            return found

    def _table_uri(self, name: Name) -> str:
        return f"{self._at}/{name}"

    def _retention(self) -> dict[str, str]:
        return dict.fromkeys(RETENTION, f"interval {self._hours} hours")

    def _keep_retention(self, table: DeltaTable) -> None:
        """See that Delta Lake's own logs are kept as long as files are, and no longer."""
        wanted = self._retention()
        if not wanted.items() <= table.metadata().configuration.items():
            table.alter.set_table_properties(wanted)

    def _create(self, name: Name, rows: Any, schema: pa.Schema, meta: dict[str, str]) -> Snapshot:
        """Make the table empty, then append: of two sweeps at once one makes it."""
        try:
            made = DeltaTable.create(
                self._table_uri(name), schema, mode="error",
                configuration={"delta.checkpointInterval": "20", **self._retention()},
            )  # fmt: skip
        except DeltaError:
            if self.snapshot(name).table is None:
                raise
            raise ConflictError from None  # made by another one meanwhile
        return self.append(Snapshot(name, made), rows, schema, meta)

    @contextmanager
    def _committing(self) -> Iterator[None]:
        with lost_on_error(self.uri):
            try:
                yield
            except CommitFailedError as problem:
                raise ConflictError(str(problem)) from None


def _scattered(table: DeltaTable) -> bool:
    """Whether a table has many small files where few would do."""
    sizes = pa.table(table.get_add_actions())["size_bytes"].to_pylist()
    small = sum(size < SMALL_FILE_BYTES for size in sizes)
    return bool(small >= COMPACT_FROM and small > 2 * sum(sizes) / TARGET_FILE_BYTES)


def _stamp(since: Snapshot, meta: dict[str, str]) -> CommitProperties:
    number = Transaction(WRITER, since.version + 1)
    return CommitProperties(custom_metadata=meta, app_transactions=[number])
