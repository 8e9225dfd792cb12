"""Partitions by hash, and the files that tasks exchange."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import LocalFileSystem

from fer_ray.errors import StoreLostError, UserError
from fer_ray.storage.objects import uris
from fer_ray.storage.planning.partitions import (
    MAX_ROWS,
    Partition,
    content_hashes,
    level_for,
    partition_file,
    partition_numbers,
    partition_of,
    partitions,
    path_hashes,
)
from fer_ray.storage.planning.sorted_files import read_partition, write_sorted
from fer_ray.storage.table_folder import TableFolder

PATHS = [f"folder/{number}.png" for number in range(1_000)]


@pytest.fixture
def folder(tmp_path: Path) -> TableFolder:
    return TableFolder(str(tmp_path), LocalFileSystem(), str(tmp_path))


def test_partitions_cover_all_hashes_once() -> None:
    for level in (0, 1, 5):
        every = partitions(level)
        assert [one.start for one in every[1:]] == [one.stop for one in every[:-1]]
        assert (every[0].start, every[-1].stop) == (0, 2**32)
        assert {one.level for one in every} == {level}


def test_partitions_overlap_if_one_contains_the_other() -> None:
    assert Partition(1).overlaps(Partition(7))
    assert Partition(3).overlaps(Partition(6))
    assert Partition(6).overlaps(Partition(3))
    assert not Partition(2).overlaps(Partition(6))
    assert not Partition(4).overlaps(Partition(5))


def test_level_follows_the_number_of_rows() -> None:
    sizes = [0, 1, MAX_ROWS, MAX_ROWS + 1, 2 * MAX_ROWS, 2 * MAX_ROWS + 1, 10**9]
    assert [level_for(rows) for rows in sizes] == [0, 0, 0, 1, 1, 2, 12]


def test_file_names_contain_the_partition() -> None:
    assert partition_of(partition_file(Partition(11), "images-a.parquet")) == Partition(11)
    assert partition_of("part-00000-of-another-writer.parquet") == Partition(1)


def test_hashes_are_the_same_everywhere() -> None:
    assert path_hashes(["a/größe.png"]).tolist() == [0xD097EC51]
    assert content_hashes(["0123456789abcdef" * 4]).tolist() == [0x01234567]


def test_each_row_is_in_one_partition(folder: TableFolder) -> None:
    hashes = path_hashes(PATHS)
    names = write_sorted(folder, "rows", pa.table({"path": PATHS[:700]}), hashes[:700])
    names += write_sorted(folder, "rows", pa.table({"path": PATHS[700:]}), hashes[700:])
    assert write_sorted(folder, "rows", pa.table({"path": PATHS[:0]}), hashes[:0]) == []
    found = []
    for one in partitions(3):
        rows = pa.Table.from_batches(read_partition(folder, names, one, ["path"]))
        assert partition_numbers(path_hashes(rows["path"].to_pylist()), 3) == {one.number}
        found += rows["path"].to_pylist()
    assert sorted(found) == sorted(PATHS)


def test_rows_of_a_file_are_read_by_position(folder: TableFolder) -> None:
    rows = pa.table({"number": np.arange(100)})
    folder.write(rows, "rows.parquet", row_group=16)
    for start, count in ((0, 100), (15, 2), (16, 16), (90, 10), (99, 1)):
        found = folder.read_rows("rows.parquet", start, count)["number"].to_pylist()
        assert found == list(range(start, start + count))


def test_statistics_of_a_file(folder: TableFolder) -> None:
    columns = {"path": ["b", "ä", "a"], "size": [3, None, 1], "empty": pa.nulls(3, pa.string())}
    rows = pa.table({**columns, "vector": [[1.0], [2.0], [3.0]]})
    file = folder.write(rows, "rows.parquet", keys=("path", "size", "empty"), row_group=2)
    assert (file.rows, file.size) == (3, Path(folder.root, "rows.parquet").stat().st_size)
    statistics = json.loads(file.statistics)
    assert statistics["minValues"] == {"path": "a", "size": 1}
    assert statistics["maxValues"] == {"path": "ä", "size": 3}
    assert (statistics["numRecords"], statistics["nullCount"]["size"]) == (3, 1)


def test_batches_are_joined_to_row_groups(folder: TableFolder) -> None:
    table = pa.table({"number": np.arange(10_000)})
    file = folder.write_batches(
        iter(table.to_batches(max_chunksize=700)), table.schema, "joined.parquet", ("number",)
    )
    assert file is not None
    written = pq.ParquetFile(f"{folder.root}/joined.parquet")
    assert [written.metadata.row_group(i).num_rows for i in range(3)] == [4_096, 4_096, 1_808]
    assert written.read().equals(table)
    assert folder.write_batches(iter([]), table.schema, "none.parquet", ()) is None
    assert not Path(folder.root, "none.parquet").exists()


def test_unwritable_folder_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uris, "FIRST_PAUSE_S", 0.001)
    (tmp_path / "file").touch()
    rows, root = pa.table({"number": [1]}), str(tmp_path / "file")
    with pytest.raises(StoreLostError, match="cannot be read or written"):
        TableFolder(root, LocalFileSystem(), root).write(rows, "rows.parquet")
    with pytest.raises(UserError, match="Set TMPDIR"):
        TableFolder(root, LocalFileSystem(), root, temporary=True).write(rows, "rows.parquet")
