"""Reading a table from an untrusted source runs no code."""

import json
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.pipelines.audit.diff import compare_runs
from fer_ray.storage.delta_store import Store
from fer_ray.storage.parquet import read_table

RAN: list[str] = []


def record_call() -> None:
    RAN.append("unpickled")


class Bait:
    """Records that it was unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return record_call, ()


def write_hostile(file: Any) -> None:
    """Write a nested column that Ray Data would read as pickled objects."""
    name = {"ARROW:extension:name": "ray.data.arrow_pickled_object", "ARROW:extension:metadata": ""}
    within = pa.field("inner", pa.large_binary(), metadata=name)
    rows = pa.array([{"inner": pickle.dumps(Bait())}], pa.struct([within]))
    pq.write_table(pa.table([rows], schema=pa.schema([pa.field("sha256", rows.type)])), file)


def test_pickled_columns_are_rejected(tmp_path: Path) -> None:
    import ray.data  # noqa: F401 (it registers the type)

    file = tmp_path / "frames" / "part-00000.parquet"
    file.parent.mkdir()
    write_hostile(file)
    RAN.clear()
    for source in (file, file.parent, BytesIO(file.read_bytes())):
        with pytest.raises(UserError, match="may run code when it is read"):
            read_table(source)
    assert not RAN
    pq.read_table(file).to_pylist()
    assert RAN  # the file would run code in another reader


def test_runs_with_pickled_columns_are_not_compared(tmp_path: Path) -> None:
    import ray.data  # noqa: F401

    (tmp_path / "frames").mkdir()
    (tmp_path / "extract.json").write_text(json.dumps({"fingerprint": "f"}))
    write_hostile(tmp_path / "frames" / "part-00000.parquet")
    RAN.clear()
    with pytest.raises(UserError, match="may run code when it is read"):
        compare_runs(str(tmp_path), str(tmp_path))
    assert not RAN


def test_store_rejects_pickled_columns(tmp_path: Path) -> None:
    import ray.data  # noqa: F401

    uri = str(tmp_path / "images")
    deltalake.write_deltalake(uri, pa.table({"sha256": pa.array([b"plain"], pa.large_binary())}))
    [file] = Path(uri).glob("*.parquet")
    name = {"ARROW:extension:name": "ray.data.arrow_pickled_object", "ARROW:extension:metadata": ""}
    field = pa.field("sha256", pa.large_binary(), metadata=name)
    bait = pa.table([[pickle.dumps(Bait())]], schema=pa.schema([field]))
    size = file.stat().st_size
    pq.write_table(bait, file)
    [log] = Path(uri).glob("_delta_log/*.json")
    log.write_text(log.read_text().replace(f'"size":{size}', f'"size":{file.stat().st_size}'))
    RAN.clear()
    with pytest.raises(UserError, match="may run code when it is read"):
        list(Store(str(tmp_path)).snapshot("images").batches(["sha256"]))
    assert not RAN
    pq.read_table(file).to_pylist()
    assert RAN


def test_files_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    for part in (1, 0, 2):
        pq.write_table(pa.table({"row": [part]}), tmp_path / f"part-{part:05d}.parquet")
    assert read_table(tmp_path)["row"].to_pylist() == [0, 1, 2]
    assert read_table(tmp_path, columns=["row"], filters=[("row", ">", 0)]).num_rows == 2
