"""What keeps a store small: files joined, versions, log entries, manifests and pages dropped."""

import json
import os
import time
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from fer_ray.storage.archive import KEPT, SWEEPS
from fer_ray.storage.delta_store import COMPACT_FROM, Store

SCHEMA = pa.schema([pa.field("path", pa.string()), pa.field("listed_ns", pa.int64())])


def grown(store: Path, commits: int) -> Store:
    kept = Store(str(store), retention_hours=1)
    for number in range(commits):
        table = pa.table({"path": [f"{number}.png"], "listed_ns": [number]}, schema=SCHEMA)
        kept.append(kept.snapshot("images"), table, SCHEMA, {})
    return kept


def age(folder: Path, hours: float) -> None:
    """Make files older, and what the log says of them."""
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


def test_many_small_files_are_joined_and_dropped_after_the_retention(tmp_path: Path) -> None:
    kept = grown(tmp_path, COMPACT_FROM)
    before = kept.snapshot("images")
    told = kept.tidy("images")
    assert told == {"files": 1, "files_vacuumed": 0}
    parquet = [file for file in (tmp_path / "images").rglob("*.parquet")
               if file.parent.name == "images"]  # fmt: skip
    assert len(parquet) == COMPACT_FROM + 1
    assert sum(batch.num_rows for batch in before.batches(["path"])) == COMPACT_FROM
    age(tmp_path / "images", hours=2)
    assert kept.tidy("images") == {"files": 1, "files_vacuumed": COMPACT_FROM}
    assert DeltaTable(str(tmp_path / "images")).count() == COMPACT_FROM


def test_what_was_removed_many_commits_ago_goes_and_what_is_being_written_stays(
    tmp_path: Path,
) -> None:
    kept, folder = grown(tmp_path, 2), tmp_path / "images"
    table = kept.snapshot("images").table
    assert table is not None
    table.delete("path = '0.png'")
    (folder / "part-left-by-a-sweep-that-was-killed.parquet").touch()
    age(folder, hours=2)
    (folder / "part-of-a-sweep-under-way.parquet").touch()
    grown(tmp_path, 25)  # past a checkpoint
    assert kept.tidy("images")["files_vacuumed"] == 2
    assert (folder / "part-of-a-sweep-under-way.parquet").exists()
    assert DeltaTable(str(folder)).count() == 26


def test_few_files_are_left_as_they_are(tmp_path: Path) -> None:
    kept = grown(tmp_path, COMPACT_FROM - 1)
    assert kept.tidy("images")["files"] == COMPACT_FROM - 1


def test_delta_lakes_log_is_kept_for_the_retention_and_no_longer(tmp_path: Path) -> None:
    kept = grown(tmp_path, 45)
    log = tmp_path / "images" / "_delta_log"
    kept.tidy("images")
    assert len(list(log.glob("*.json"))) > 45
    age(log, hours=30)
    kept.tidy("images")
    assert len(list(log.glob("*.json"))) < 30
    assert DeltaTable(str(tmp_path / "images")).count() == 45


def test_another_retention_is_taken_over_by_a_table_that_is_there(tmp_path: Path) -> None:
    grown(tmp_path, 1)
    Store(str(tmp_path), retention_hours=5).tidy("images")
    told = DeltaTable(str(tmp_path / "images")).metadata().configuration
    assert told["delta.logRetentionDuration"] == "interval 5 hours"


def test_the_largest_number_is_told_by_the_files_statistics(tmp_path: Path) -> None:
    kept = Store(str(tmp_path))
    assert kept.snapshot("images").largest("listed_ns") is None
    assert grown(tmp_path, 3).snapshot("images").largest("listed_ns") == 2


def test_manifests_and_pages_past_the_retention_go_but_for_the_newest(tmp_path: Path) -> None:
    archive = Store(str(tmp_path)).archive
    for number in range(KEPT + 4):
        for ending in ("json", "html"):
            archive.write(f"{SWEEPS}/2026010{number // 24}T{number % 24:02}0000Z-aaaaaa.{ending}",
                          "{}")  # fmt: skip
    assert archive.prune("20260101T010000Z") == 4
    left = sorted(file.name for file in (tmp_path / SWEEPS).iterdir())
    assert len(left) == 2 * KEPT
    assert left[0].startswith("20260100T04")
    assert archive.prune("20260101T010000Z") == 0
