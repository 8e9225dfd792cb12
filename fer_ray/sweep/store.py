"""The store: two Delta Lake tables and what sweeps tell of themselves. docs/architecture.md: why.

`results` holds what each content gave under a recipe, and grows while a sweep runs. `images` says
which image has which content, and is changed by one commit at a sweep's end; until then no reader
sees any of it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow import fs

from fer_ray.errors import StoreLostError

Name = Literal["images", "results"]
SWEEPS = "sweeps"
# Commits of sweeps carry this id and the next number: of two at once Delta Lake refuses the later.
WRITER = "fer-ray-sweep"
ROW_GROUP = 4_096
WRITING = WriterProperties(compression="ZSTD", max_row_group_size=ROW_GROUP)
COMPACT_FROM = 8  # files, where half of them would do
SMALL_FILE_BYTES = 33_554_432
TARGET_FILE_BYTES = 268_435_456


class ConflictError(Exception):
    """Another sweep has committed since the version that this one knows."""


@dataclass(frozen=True)
class Snapshot:
    """A version of a table that stays readable while others write; None: there is no table yet."""

    name: Name
    table: DeltaTable | None

    @property
    def version(self) -> int:
        """Its number, -1 for a table that is not there yet."""
        return -1 if self.table is None else self.table.version()

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """The named columns, as a stream; those that the table lacks are left out."""
        if self.table is None:
            return
        with _lost_on_error(self.table.table_uri):
            dataset = self.table.to_pyarrow_dataset()
            known = [name for name in columns if name in dataset.schema.names]
            yield from dataset.scanner(
                columns=known, batch_readahead=2, fragment_readahead=2
            ).to_batches()


class Store:
    """A store at a path or URI (`s3://bucket/prefix`, …).

    Raises:
        StoreLostError: By any method: it cannot be read or written.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") if "://" in uri else str(Path(uri).resolve())
        with _lost_on_error(self.uri):
            self._fs, self._root = fs.FileSystem.from_uri(self.uri)

    def snapshot(self, name: Name, version: int | None = None) -> Snapshot:
        """The newest version of a table, or the one asked for."""
        with _lost_on_error(self.uri):
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

    def tidy(self, name: Name, retention_hours: int) -> dict[str, int]:
        """Join small files, drop those that no version within the retention needs."""
        table = self.snapshot(name).table
        if table is None:
            return {}
        with _lost_on_error(self.uri):
            gone: list[str] = []
            try:
                if _scattered(table):
                    table.optimize.compact(target_size=TARGET_FILE_BYTES, writer_properties=WRITING)
                gone = table.vacuum(
                    retention_hours, dry_run=False, enforce_retention_duration=False
                )
                table.cleanup_metadata()
            except CommitFailedError:  # another sweep was quicker; the next one tidies
                table = DeltaTable(self._table_uri(name))
            return {"files": len(table.file_uris()), "files_vacuumed": len(gone)}

    def write_text(self, name: str, text: str) -> str:
        """Write `sweeps/NAME` whole; where it is."""
        folder = f"{self._root}/{SWEEPS}"
        file, partial = f"{folder}/{name}", f"{folder}/.{name}.tmp"
        with _lost_on_error(self.uri):
            self._fs.create_dir(folder, recursive=True)
            local = isinstance(self._fs, fs.LocalFileSystem)
            with self._fs.open_output_stream(partial if local else file) as opened:
                opened.write(text.encode())
            if local:
                self._fs.move(partial, file)
        return f"{self.uri}/{SWEEPS}/{name}"

    def manifests(self) -> Iterator[dict[str, Any]]:
        """What sweeps told of themselves, the newest first."""
        folder = fs.FileSelector(f"{self._root}/{SWEEPS}", allow_not_found=True)
        with _lost_on_error(self.uri):
            names = (info.path for info in self._fs.get_file_info(folder))
            newest = sorted((name for name in names if name.endswith(".json")), reverse=True)
        for path in newest:
            with _lost_on_error(self.uri), self._fs.open_input_file(path) as opened:
                text = opened.read()
            yield json.loads(text)

    def _table_uri(self, name: Name) -> str:
        return f"{self.uri}/{name}"

    def _create(self, name: Name, rows: Any, schema: pa.Schema, meta: dict[str, str]) -> Snapshot:
        """Make the table empty, then append: of two sweeps at once one makes it."""
        try:
            made = DeltaTable.create(
                self._table_uri(name), schema, mode="error",
                configuration={"delta.checkpointInterval": "20"},
            )  # fmt: skip
        except DeltaError:
            if self.snapshot(name).table is None:
                raise
            raise ConflictError from None  # made by another one meanwhile
        return self.append(Snapshot(name, made), rows, schema, meta)

    @contextmanager
    def _committing(self) -> Iterator[None]:
        with _lost_on_error(self.uri):
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


@contextmanager
def _lost_on_error(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, DeltaError, pa.ArrowInvalid) as problem:
        if isinstance(problem, CommitFailedError | TableNotFoundError):
            raise
        reason = str(problem).strip().splitlines()[0][:300]
        raise StoreLostError(
            f"The store {uri} cannot be read or written: {reason}\nWhat was committed is kept; "
            "mend that and run the same again."
        ) from None
