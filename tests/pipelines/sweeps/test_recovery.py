"""What an operator does with a store that is damaged, or that must forget images."""

import json
import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable

from fer_ray.errors import StoreLostError
from tests.pipelines.sweeps.conftest import Swept, rows, tiny_image


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for number in range(4):
        tiny_image(root / f"subject{number}" / f"{number}.png", number)
    return root


def test_restored_version_is_the_base_of_the_next_sweep(
    source: Path, store: Path, swept: Swept
) -> None:
    before = swept()["tables"]
    expected = {table: rows(store, table) for table in ("images", "results")}
    shutil.rmtree(source / "subject3")
    swept()
    assert len(rows(store, "images")) == 3
    for table in ("images", "results"):
        opened = DeltaTable(str(store / table))
        if opened.version() > before[table]["version"]:
            opened.restore(before[table]["version"])
    assert {table: rows(store, table) for table in ("images", "results")} == expected
    assert swept()["published"]["delete"] == 1
    assert len(rows(store, "images")) == 3


@pytest.mark.parametrize(("table", "processed"), [("images", 0), ("results", 4)])
def test_damaged_table_is_rebuilt(store: Path, swept: Swept, table: str, processed: int) -> None:
    swept()
    expected = {name: rows(store, name) for name in ("images", "results")}
    next((store / table).glob("*.parquet")).unlink()
    with pytest.raises(StoreLostError):
        swept()
    shutil.rmtree(store / table)
    assert swept()["described"] == processed
    assert {name: rows(store, name) for name in ("images", "results")} == expected


def test_deleted_images_leave_no_trace(source: Path, store: Path, swept: Swept) -> None:
    (source / "subject3" / "3.png").write_bytes(b"damaged")  # a failure, named on the page
    first = swept()
    names = {(row["path"], row["sha256"]) for row in rows(store, "images")}
    [(path, content)] = [name for name in names if "subject3" in name[0]]
    assert path in (store / "sweeps" / f"{first['sweep']}.html").read_text()
    shutil.rmtree(source / "subject3")
    swept(retention_hours=0)
    assert len(rows(store, "images")) == len(rows(store, "results")) == 3
    [manifest] = (store / "sweeps").glob("*.json")
    assert json.loads(manifest.read_text())["published"]["delete"] == 1
    for file in store.rglob("*"):
        data = file.read_bytes() if file.is_file() else b""
        assert path.encode() not in data, file
        assert content.encode() not in data, file
    for table in ("images", "results"):
        current = {Path(uri).name for uri in DeltaTable(str(store / table)).file_uris()}
        assert {file.name for file in (store / table).glob("*.parquet")} == current
