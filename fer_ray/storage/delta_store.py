"""The store of a sweep: Delta Lake tables, manifests and pages. See docs/architecture.md.

`results` contains the rows of each content under a store recipe, and grows while a sweep runs.
`images` maps each image to its content. A sweep changes it in one commit at its end, so readers
never see an unfinished sweep. `readings` lists the contents that a sweep has read, in case it does
not finish.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from fer_ray.storage.archive import Archive
from fer_ray.storage.objects.uris import require_store_uri, resolve_filesystem, store_lost_on_error
from fer_ray.storage.parquet import ROW_GROUP
from fer_ray.storage.paths import without_credentials
from fer_ray.storage.snapshot import Snapshot, TableName
from fer_ray.storage.table_folder import NewFile, TableFolder

# Commits carry this application ID and a version. Of two concurrent commits with the same version,
# Delta Lake rejects the later one.
APPLICATION_ID = "fer-ray-sweep"
WRITING = WriterProperties(compression="ZSTD", max_row_group_size=ROW_GROUP)
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
        self._root = uri.rstrip("/") if "://" in uri else resolve_filesystem(uri)[1]
        self.uri = without_credentials(self._root)
        self._hours = retention_hours
        with store_lost_on_error(self.uri):
            self._resolved = resolve_filesystem(self._root)
            self.archive = Archive(self.uri, *self._resolved)

    def snapshot(self, name: TableName, version: int | None = None) -> Snapshot:
        """A version of a table, by default the latest."""
        with store_lost_on_error(f"{self.uri}/{name}"):  # a damaged table is named
            try:
                table = DeltaTable(self._table_uri(name), version=version)
                return Snapshot(name, table, self.folder(name))
            except TableNotFoundError:
                return Snapshot(name, None, self.folder(name))

    def folder(self, name: str) -> TableFolder:
        """A folder of the store, in which tasks write files."""
        filesystem, root = self._resolved
        return TableFolder(f"{self.uri}/{name}", filesystem, f"{root}/{name}")

    def commit(
        self,
        base: Snapshot,
        added: list[NewFile],
        schema: pa.Schema,
        meta: dict[str, str],
        removed: Iterable[str] = (),
        data_change: bool = True,
    ) -> Snapshot:
        """Commit files that tasks have written, on top of `base`.

        Args:
            base: The version to change.
            added: Files in the folder of the table.
            schema: Schema of the rows. Columns that the table does not have are added.
            meta: Metadata of the commit.
            removed: Names of files that are no longer part of the table.
            data_change: Whether rows change; compaction only moves them.

        Returns:
            The version with these files.

        Raises:
            ConflictError: Another sweep has committed since `base`.
        """
        with self._committing():
            table = base.table or self._create(base.name, schema)
            _add_columns(table, schema)
            now = time.time_ns() // 10**6
            actions: list[AddAction | RemoveAction] = [
                RemoveAction(name, data_change, now) for name in removed
            ]
            actions += [
                AddAction(file.name, file.size, {}, file.mtime_ms, data_change, file.statistics)
                for file in added
            ]
            version = table.version() + 1
            table.create_write_transaction(
                actions, "append", schema,
                commit_properties=_commit_properties(table.version(), meta),
            )  # fmt: skip
            table.load_as_version(version)  # not a later one, of another sweep
        return Snapshot(base.name, table, base.folder)

    def replace_rows(
        self, base: Snapshot, rows: pa.Table, key: tuple[str, ...], meta: dict[str, str]
    ) -> None:
        """Commit rows that replace those with the same key; rows with another key are added.

        Raises:
            ConflictError: Another sweep has committed since `base`.
        """
        assert base.table is not None
        matching = " AND ".join(f"t.{column} = s.{column}" for column in key)
        properties = _commit_properties(base.version, meta)
        with self._committing():
            (
                base.table.merge(
                    rows, matching, source_alias="s", target_alias="t",
                    writer_properties=WRITING, commit_properties=properties,
                )
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .execute()
            )  # fmt: skip

    def vacuum(self, name: TableName) -> dict[str, int]:
        """Remove files that no version within the retention needs.

        Returns:
            `files` of the table, its `version` and `files_vacuumed`; empty without a table.
        """
        table = self.snapshot(name).table
        if table is None:
            return {}
        removed: list[str] = []
        with store_lost_on_error(self.uri), suppress(CommitFailedError):
            self._set_retention(table)
            # Without `full`, only files removed since the last checkpoint would be vacuumed.
            removed = table.vacuum(
                self._hours, dry_run=False, enforce_retention_duration=False, full=True
            )
            if not self._hours:  # log entries contain statistics of the rows
                table.update_incremental()
                table.create_checkpoint()
            table.cleanup_metadata()
        latest = self.snapshot(name)
        return {
            "files": len(latest.files()),
            "files_vacuumed": len(removed),
            "version": latest.version,
        }

    def versions(self, name: TableName, since: datetime) -> list[int]:
        """List the versions of a table that have been the latest at any moment since a time."""
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

    def _create(self, name: TableName, schema: pa.Schema) -> DeltaTable:
        """Create an empty table: only one of two concurrent sweeps can do that."""
        try:
            return DeltaTable.create(
                self._table_uri(name), schema, mode="error",
                configuration={"delta.checkpointInterval": "20", **self._retention()},
            )  # fmt: skip
        except DeltaError:
            if self.snapshot(name).table is None:
                raise
            raise ConflictError from None  # another sweep has created it

    @contextmanager
    def _committing(self) -> Iterator[None]:
        with store_lost_on_error(self.uri):
            try:
                yield
            except CommitFailedError as error:
                raise ConflictError(str(error)) from None


def _add_columns(table: DeltaTable, schema: pa.Schema) -> None:
    """Add the columns that a table does not have yet, in a separate commit."""
    known = {field.name for field in table.schema().fields}
    new = [field for field in schema if field.name not in known]
    if new:
        table.alter.add_columns(DeltaSchema.from_arrow(pa.schema(new)).fields)


def _commit_properties(version: int, meta: dict[str, str]) -> CommitProperties:
    transaction = Transaction(APPLICATION_ID, version + 1)
    return CommitProperties(custom_metadata=meta, app_transactions=[transaction])
