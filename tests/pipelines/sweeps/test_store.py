"""Maintenance of a store: compaction, and removal of old versions, logs, manifests and pages."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from fer_ray.pipelines.sweeps.context import name_prefix
from fer_ray.storage.archive import MIN_SWEEPS, SWEEPS
from fer_ray.storage.delta_store import Store
from tests.pipelines.sweeps.conftest import append

SCHEMA = pa.schema([pa.field("path", pa.string()), pa.field("listed_ns", pa.int64())])


def grown(store: Path, commits: int) -> Store:
    opened = Store(str(store), retention_hours=1)
    for number in range(commits):
        rows = pa.table({"path": [f"{number}.png"], "listed_ns": [number]}, schema=SCHEMA)
        append(opened.snapshot("images"), opened, rows)
    return opened


def age(folder: Path, hours: float) -> None:
    """Make files and their entries in the log older."""
    then = time.time() - hours * 3600
    for file in folder.rglob("*"):
        if file.is_file():
            if file.suffix == ".json" and file.parent.name == "_delta_log":
                lines = [json.loads(line) for line in file.read_text().splitlines()]
                for line in lines:
                    for action in line.values():
                        for name in ("timestamp", "deletionTimestamp", "modificationTime"):
                            if isinstance(action, dict) and name in action:
                                action[name] = int(then * 1e3)
                file.write_text("\n".join(map(json.dumps, lines)) + "\n")
            os.utime(file, (then, then))


def test_replaced_files_are_vacuumed(tmp_path: Path) -> None:
    opened = grown(tmp_path, 3)
    before = opened.snapshot("images")
    rows = pa.Table.from_batches(before.batches(SCHEMA.names), SCHEMA)
    file = opened.folder("images").write(rows, "joined.parquet")
    opened.commit(before, [file], SCHEMA, {}, before.files(), data_change=False)
    assert opened.snapshot("images").files().keys() == {"joined.parquet"}
    assert opened.vacuum("images")["files_vacuumed"] == 0
    assert sum(batch.num_rows for batch in before.batches(["path"])) == 3
    age(tmp_path / "images", hours=2)
    assert opened.vacuum("images")["files_vacuumed"] == 3
    assert DeltaTable(str(tmp_path / "images")).count() == 3


def test_new_columns_are_added(tmp_path: Path) -> None:
    opened = grown(tmp_path, 1)
    wider = pa.table({"path": ["new.png"], "vector": pa.array([[0.5]], pa.list_(pa.float32()))})
    append(opened.snapshot("images"), opened, wider)
    found = opened.snapshot("images").table.to_pyarrow_table().sort_by("path")
    assert found["vector"].to_pylist() == [None, [0.5]]
    assert found["listed_ns"].to_pylist() == [0, None]


def test_vacuum_keeps_files_being_written(tmp_path: Path) -> None:
    opened, folder = grown(tmp_path, 2), tmp_path / "images"
    table = opened.snapshot("images").table
    assert table is not None
    table.delete("path = '0.png'")
    (folder / "part-left-by-a-sweep-that-was-killed.parquet").touch()
    age(folder, hours=2)
    (folder / "part-of-a-sweep-under-way.parquet").touch()
    grown(tmp_path, 25)  # past a checkpoint
    assert opened.vacuum("images")["files_vacuumed"] == 2
    assert (folder / "part-of-a-sweep-under-way.parquet").exists()
    assert DeltaTable(str(folder)).count() == 26


def test_log_retention(tmp_path: Path) -> None:
    opened = grown(tmp_path, 45)
    log = tmp_path / "images" / "_delta_log"
    opened.vacuum("images")
    assert len(list(log.glob("*.json"))) > 45
    age(log, hours=30)
    opened.vacuum("images")
    assert len(list(log.glob("*.json"))) < 30
    assert DeltaTable(str(tmp_path / "images")).count() == 45


def test_retention_of_existing_table_changes(tmp_path: Path) -> None:
    grown(tmp_path, 1)
    Store(str(tmp_path), retention_hours=5).vacuum("images")
    configuration = DeltaTable(str(tmp_path / "images")).metadata().configuration
    assert configuration["delta.logRetentionDuration"] == "interval 5 hours"


def test_max_value_from_statistics(tmp_path: Path) -> None:
    opened = Store(str(tmp_path))
    assert opened.snapshot("images").max_value("listed_ns") is None
    assert grown(tmp_path, 3).snapshot("images").max_value("listed_ns") == 2


def test_sweep_names_sort_by_time_within_a_second() -> None:
    starts = [datetime(2026, 1, 31, 23, 59, 59, 1000 * number, UTC) for number in (2, 10, 100)]
    names = [name_prefix(start) for start in starts]
    assert names == sorted(names)
    assert len(set(names)) == 3


def test_old_manifests_are_pruned(tmp_path: Path) -> None:
    archive = Store(str(tmp_path)).archive
    for number in range(MIN_SWEEPS + 4):
        for ending in ("json", "html"):
            archive.write(f"{SWEEPS}/2026010{number // 24}T{number % 24:02}0000Z-aaaaaa.{ending}",
                          "{}")  # fmt: skip
    assert archive.prune("20260101T010000Z") == 4
    left = sorted(file.name for file in (tmp_path / SWEEPS).iterdir())
    assert len(left) == 2 * MIN_SWEEPS
    assert left[0].startswith("20260100T04")
    assert archive.prune("20260101T010000Z") == 0
