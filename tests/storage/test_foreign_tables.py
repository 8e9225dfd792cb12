"""A sweep never removes files that no sweep has written."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from fer_ray.errors import UserError
from fer_ray.storage.delta_store import Store
from fer_ray.storage.foreign_tables import require_own_tables
from fer_ray.storage.table_folder import unique_name


@pytest.mark.parametrize("name", ["images/1.jpg", "results/2026/1.jpg", "results/a.parquet"])
def test_files_of_the_user_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    with pytest.raises(UserError, match="no sweep has written, such as"):
        require_own_tables(Store(str(tmp_path)))


def test_table_of_the_user_is_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "results", pa.table({"price": [1.5]}))
    with pytest.raises(UserError, match="results contains data"):
        require_own_tables(Store(str(tmp_path)))


def test_own_files_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "readings").mkdir()  # of a sweep that was killed before its first commit
    (tmp_path / "readings" / unique_name("readings")).touch()
    write_deltalake(tmp_path / "images", pa.table({"path": ["a"], "sha256": ["0"]}))
    (tmp_path / "images" / ".DS_Store").touch()
    require_own_tables(Store(str(tmp_path)))
