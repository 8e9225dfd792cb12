"""The store of a sweep: Delta Lake tables, manifests and pages. See docs/architecture.md.

`results` contains the rows of each content under a store recipe, and grows while a sweep runs.
`images` maps each image to its content. A sweep changes it in one commit at its end, so readers
never see an unfinished sweep. `readings` lists the contents that a sweep has read, in case it does
not finish.
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
from fer_ray.storage.paths import without_credentials
from fer_ray.storage.snapshot import Snapshot, TableName
from fer_ray.storage.uris import require_store_uri, resolve_filesystem, store_lost_on_error

# Commits carry this application ID and a version. Of two concurrent commits with the same version,
# Delta Lake rejects the later one.
APPLICATION_ID = "fer-ray-sweep"
ROW_GROUP = 4_096
WRITING = WriterProperties(compression="ZSTD", max_row_group_size=ROW_GROUP)
COMPACT_FROM = 8  # small files
SMALL_FILE_BYTES = 33_554_432
TARGET_FILE_BYTES = 268_435_456
MAX_VERSIONS = 1_000  # of a table's history that are read
RETENTION = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")


class ConflictError(Exception):
    """Another sweep has committed since the version that a commit is based on."""


class Store:
    """A store at a path or URI (`s3://bucket/prefix`, …).

    Args:
        uri: Path or URI.
        retention_hours: How long earlier versions stay readable.

    Raises:
        UserError: A store cannot be created at this URI.
        StoreLostError: By any method: the store cannot be read or written.

    Examples:
        >>> from fer_ray.storage.delta_store import Store
        >>> Store("new-store").snapshot("images").version
        -1
    """

    def __init__(self, uri: str, retention_hours: int = 168) -> None:
        require_store_uri(uri)
        self._root = uri.rstrip("/") if "://" in uri else str(Path(uri).resolve())
        self.uri = without_credentials(self._root)
        self._hours = retention_hours
        with store_lost_on_error(self.uri):
            self.archive = Archive(self.uri, *resolve_filesystem(self._root))

    def snapshot(self, name: TableName, version: int | None = None) -> Snapshot:
        """A version of a table, by default the latest."""
        with store_lost_on_error(self.uri):
            try:
                return Snapshot(name, DeltaTable(self._table_uri(name), version=version))
            except TableNotFoundError:
                return Snapshot(name, None)

    def append(
        self, base: Snapshot, rows: Any, schema: pa.Schema, meta: dict[str, str]
    ) -> Snapshot:
        """Commit rows on top of `base`.

        Args:
            base: The version to append to.
            rows: A table, or a stream of batches.
            schema: Schema of the table, in case it does not exist yet.
            meta: Metadata of the commit.

        Returns:
            The version with these rows.

        Raises:
            ConflictError: Another sweep has committed since `base`.
        """
        with self._committing():
            if base.table is None:
                return self._create(base.name, rows, schema, meta)
            write_deltalake(
                base.table, rows, mode="append", schema_mode="merge",
                writer_properties=WRITING, target_file_size=TARGET_FILE_BYTES,
                commit_properties=_commit_properties(base, meta),
            )  # fmt: skip
        return base  # delta-rs has advanced it to this commit, not to one of another sweep

    def merge(
        self, base: Snapshot, changes: Any, key: tuple[str, ...], meta: dict[str, str]
    ) -> None:
        """Commit changes of rows in one commit; the column `operation` is `put` or `delete`.

        Raises:
            ConflictError: Another sweep has committed since `base`.
        """
        assert base.table is not None
        matching = " AND ".join(f"t.{column} = s.{column}" for column in key)
        with self._committing():
            (
                base.table.merge(
                    changes, matching, source_alias="s", target_alias="t",
                    writer_properties=WRITING, commit_properties=_commit_properties(base, meta),
                )
                .when_matched_delete("s.operation = 'delete'")
                .when_matched_update_all("s.operation = 'put'", except_cols=["operation"])
                .when_not_matched_insert_all("s.operation = 'put'", except_cols=["operation"])
                .execute()
            )  # fmt: skip

    def delete_results(self, base: Snapshot, keys: Any, meta: dict[str, str]) -> None:
        """Commit the deletion of all results with these `sha256` and `recipe`.

        Raises:
            ConflictError: Another sweep has committed since `base`.
        """
        assert base.table is not None
        with self._committing():
            base.table.merge(
                keys, "t.sha256 = s.sha256 AND t.recipe = s.recipe",
                source_alias="s", target_alias="t",
                writer_properties=WRITING, commit_properties=_commit_properties(base, meta),
            ).when_matched_delete().execute()  # fmt: skip

    def delete_rows(self, base: Snapshot) -> None:
        """Commit the deletion of all rows; on a conflict, they stay."""
        if base.table is not None:
            with store_lost_on_error(self.uri), suppress(CommitFailedError):
                base.table.delete()

    def compact_and_vacuum(self, name: TableName) -> dict[str, int]:
        """Join small files, and remove files that no version within the retention needs.

        Returns:
            `files` of the table and `files_vacuumed`; empty if the table does not exist.
        """
        table = self.snapshot(name).table
        if table is None:
            return {}
        removed: list[str] = []
        with store_lost_on_error(self.uri), suppress(CommitFailedError):
            self._set_retention(table)
            if _has_small_files(table):
                table.optimize.compact(target_size=TARGET_FILE_BYTES, writer_properties=WRITING)
            # Without `full`, only files removed since the last checkpoint would be vacuumed.
            removed = table.vacuum(
                self._hours, dry_run=False, enforce_retention_duration=False, full=True
            )
            table.cleanup_metadata()
        return {"files": len(self.snapshot(name).files()), "files_vacuumed": len(removed)}

    def versions(self, name: TableName, since: datetime) -> list[int]:
        """List the versions of a table that were the latest at any moment since then."""
        table = self.snapshot(name).table
        if table is None:
            return []
        with store_lost_on_error(self.uri):
            versions = []
            for commit in table.history(MAX_VERSIONS):
                versions.append(int(commit["version"]))
                if commit.get("timestamp", 0) / 1e3 <= since.timestamp():
                    break
            return versions

    def _table_uri(self, name: TableName) -> str:
        return f"{self._root}/{name}"

    def _retention(self) -> dict[str, str]:
        return dict.fromkeys(RETENTION, f"interval {self._hours} hours")

    def _set_retention(self, table: DeltaTable) -> None:
        """Make Delta Lake retain its log as long as the files, and no longer."""
        retention = self._retention()
        if not retention.items() <= table.metadata().configuration.items():
            table.alter.set_table_properties(retention)

    def _create(
        self, name: TableName, rows: Any, schema: pa.Schema, meta: dict[str, str]
    ) -> Snapshot:
        """Create an empty table, then append: only one of two concurrent sweeps can create it."""
        try:
            table = DeltaTable.create(
                self._table_uri(name), schema, mode="error",
                configuration={"delta.checkpointInterval": "20", **self._retention()},
            )  # fmt: skip
        except DeltaError:
            if self.snapshot(name).table is None:
                raise
            raise ConflictError from None  # another sweep has created it
        return self.append(Snapshot(name, table), rows, schema, meta)

    @contextmanager
    def _committing(self) -> Iterator[None]:
        with store_lost_on_error(self.uri):
            try:
                yield
            except CommitFailedError as error:
                raise ConflictError(str(error)) from None


def _has_small_files(table: DeltaTable) -> bool:
    """Return whether a table has many small files that would fit into half as many."""
    sizes = pa.table(table.get_add_actions())["size_bytes"].to_pylist()
    small = sum(size < SMALL_FILE_BYTES for size in sizes)
    return bool(small >= COMPACT_FROM and small > 2 * sum(sizes) / TARGET_FILE_BYTES)


def _commit_properties(base: Snapshot, meta: dict[str, str]) -> CommitProperties:
    transaction = Transaction(APPLICATION_ID, base.version + 1)
    return CommitProperties(custom_metadata=meta, app_transactions=[transaction])
