import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.storage import parquet
from fer_ray.storage.damage import damage_named
from fer_ray.storage.files import read_json, write_json
from fer_ray.storage.locks import lock_folder
from fer_ray.storage.run_folder import LOCK, frames_record
from fer_ray.storage.staging import Merge, StagedRows, remove_superseded

SCHEMA = pa.schema([pa.field("n", pa.int64()), pa.field("v", pa.list_(pa.float32(), 2))])


def rows(start: int, stop: int) -> pa.Table:
    numbers = list(range(start, stop))
    vectors = [None if n % 3 == 0 else [float(n), 0.5] for n in numbers]
    return pa.table({"n": numbers, "v": vectors}, schema=SCHEMA)


def test_missing_spans_follow_from_the_blocks(tmp_path: Path) -> None:
    staged = StagedRows(tmp_path / "partial" / "key")
    assert list(staged.missing(10)) == [(0, 10)]
    staged.write_at(rows(2, 5), np.arange(2, 5))
    staged.write_at(rows(7, 8), np.arange(7, 8))
    assert list(staged.missing(10)) == [(0, 2), (5, 7), (8, 10)]
    (staged.folder / ".0000000000-0000000002.parquet.17.tmp").write_bytes(b"half")
    assert list(staged.missing(10)) == [(0, 2), (5, 7), (8, 10)]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_assembled_rows_do_not_depend_on_the_blocks(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP", 10)
    staged = StagedRows(tmp_path / "partial" / "key")
    for start in reversed(range(0, 50, size)):
        stop = min(50, start + size)
        staged.write_at(rows(start, stop), np.arange(start, stop))
    counts = staged.assemble(tmp_path / "final", SCHEMA, positions_per_file=20)
    assert pq.read_table(tmp_path / "final", schema=SCHEMA).equals(rows(0, 50))
    files = sorted((tmp_path / "final").iterdir())
    assert counts == {file.name: size for file, size in zip(files, (20, 20, 10), strict=True)}
    assert [pq.read_metadata(file).num_rows for file in files] == [20, 20, 10]
    assert b"fer_ray.schema_version" in pq.read_schema(files[0]).metadata


def test_overlapping_blocks_give_each_row_once(tmp_path: Path) -> None:
    staged = StagedRows(tmp_path / "partial" / "key")
    for start, stop in ((0, 4), (0, 8), (4, 8), (6, 7), (7, 12), (12, 15)):
        staged.write_at(rows(start, stop), np.arange(start, stop))
    staged.assemble(tmp_path / "final", SCHEMA)
    assert pq.read_table(tmp_path / "final", schema=SCHEMA).equals(rows(0, 15))


def test_a_position_may_have_several_rows(tmp_path: Path) -> None:
    staged = StagedRows(tmp_path / "partial" / "key")
    staged.write_at(rows(0, 5), np.array([0, 1, 1, 1, 3]))
    assert [span[:2] for span in staged.spans()] == [(0, 2), (3, 4)]
    assert list(staged.missing(4)) == [(2, 3)]
    staged.write_at(rows(1, 7), np.array([1, 1, 1, 2, 2, 3]))  # overlaps both
    staged.write_at(rows(7, 10), np.array([5, 5, 4]))
    staged.assemble(tmp_path / "final", SCHEMA)
    numbers = pq.read_table(tmp_path / "final", schema=SCHEMA)["n"].to_pylist()
    assert numbers == [0, 1, 2, 3, 4, 5, 6, 9, 7, 8]


def test_an_earlier_table_stays_until_it_is_superseded(tmp_path: Path) -> None:
    final = tmp_path / "final"
    for key, size in (("one", 4), ("one", 4), ("other", 6)):
        staged = StagedRows(tmp_path / "partial" / key)
        staged.write_at(rows(0, size), np.arange(size))
        names = staged.assemble(final, SCHEMA)
    assert len(list(final.iterdir())) == 2
    remove_superseded(final, names)
    assert pq.read_table(final).num_rows == 6
    staged.remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final"]


def test_merges_are_independent_of_each_other(tmp_path: Path) -> None:
    staged = StagedRows(tmp_path / "partial" / "key")
    for start in range(0, 50, 7):
        stop = min(50, start + 7)
        staged.write_at(rows(start, stop), np.arange(start, stop))

    def run_backwards(merges: list[Merge]) -> None:
        for merge in reversed(merges):
            merge.write()

    staged.assemble(tmp_path / "final", SCHEMA, positions_per_file=20, run=run_backwards)
    assert pq.read_table(tmp_path / "final", schema=SCHEMA).equals(rows(0, 50))


def test_locked_folder_rejects_a_second_job(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from fer_ray.storage.locks import lock_folder\n"
        "with lock_folder(pathlib.Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(UserError, match="Another fer-ray job"), lock_folder(tmp_path):
            pass
        holder.kill()
    with lock_folder(tmp_path):  # the killed process has released the lock
        pass


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="Cannot write"),
        lock_folder(tmp_path / "file" / "out"),
    ):
        pass


def test_damaged_record_reads_as_none(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    assert read_json(file) is None
    file.write_text('{"half": ')
    assert read_json(file) is None
    write_json({"complete": "é"}, file)
    assert read_json(file) == {"complete": "é"}


def fill_disk(disk: Path, staged: StagedRows) -> None:
    staged.write_at(rows(0, 100), np.arange(100))
    (disk / "film").write_bytes(bytes(2**24))


def test_full_disk_is_reported(small_disk: Path) -> None:
    staged = StagedRows(small_disk / "partial" / "key")
    with pytest.raises(UserError, match="No space left on device"), lock_folder(small_disk):
        fill_disk(small_disk, staged)
    assert list(staged.missing(150)) == [(100, 150)]  # finished blocks are stored


def test_other_errors_are_raised_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock_folder(tmp_path):
        raise ZeroDivisionError


def test_damaged_record_is_reported_by_name(tmp_path: Path) -> None:
    (tmp_path / "trials.json").write_text('{"schema')
    (tmp_path / "run.json").write_text("{}")
    with (
        pytest.raises(UserError, match=r"Damaged files: \S*trials\.json\."),
        damage_named(tmp_path),
    ):
        json.loads((tmp_path / "trials.json").read_text())


def test_unreadable_run_folder_is_not_called_unfinished(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no finished frames"):
        frames_record(tmp_path)
    record = tmp_path / "extract.json"
    record.write_text("{")
    with pytest.raises(UserError, match=r"Damaged files: \S*extract\.json\. Remove"):
        frames_record(tmp_path)
    record.chmod(0)
    if not os.access(record, os.R_OK):
        with pytest.raises(PermissionError):
            frames_record(tmp_path)


def test_damaged_table_is_reported_by_name(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()  # a job has written the folder
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "a.parquet").write_bytes(b"PAR1 half")
    with (
        pytest.raises(UserError, match=r"Damaged files: .*a\.parquet.*rerun"),
        lock_folder(tmp_path),
    ):
        pq.read_table(tmp_path / "trials")
