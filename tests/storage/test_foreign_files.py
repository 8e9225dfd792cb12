"""A job never replaces or removes files that it has not written."""

from pathlib import Path

import pytest

from fer_ray.errors import UserError
from fer_ray.storage.foreign_files import require_outside_results, require_own_folder
from fer_ray.storage.locks import lock_folder


@pytest.mark.parametrize("name", ["frames/1.png", "crops/1.png", "report/index.html", "run.json"])
def test_folder_with_files_of_the_user_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(UserError, match="has not written"), lock_folder(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [name.partition("/")[0]]


@pytest.mark.parametrize("name", ["photos/1.png", "notes.txt", "extract.json", "frames.partial/1"])
def test_other_files_and_results_are_accepted(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (tmp_path / "frames").mkdir()
    require_own_folder(tmp_path)
    require_own_folder(tmp_path / "missing")
    with lock_folder(tmp_path):
        (tmp_path / "frames" / "a.parquet").touch()
    require_own_folder(tmp_path)


def test_source_among_the_results_is_refused(tmp_path: Path) -> None:
    require_outside_results(tmp_path, tmp_path / "photos", tmp_path.parent / "frames")
    with pytest.raises(UserError, match="crops is among the results"):
        require_outside_results(tmp_path, tmp_path / "photos", tmp_path / "crops")
