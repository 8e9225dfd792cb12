"""Files that workers write, and their commits next to those of other sweeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from fer_ray.errors import SourceLostError
from fer_ray.execution.progress import Progress, silent
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.sweeping import SweepSettings
from fer_ray.storage.delta_store import Store
from tests.pipelines.sweeps.conftest import FAST, rows, tiny_image


def sweep(source: Path, store: Path, progress: Progress = silent, **settings: Any) -> Any:
    execution = Execution(executor="in-process", **settings)
    options = Settings(extract=FAST, execution=execution, sweep=SweepSettings(commit_rows=1))
    return run_sweep(SweepRequest(str(source), str(store), options, progress))


def test_contents_of_another_sweep_are_committed_once(source: Path, store: Path) -> None:
    @contextmanager
    def overtaken(step: str, unit: str, total: int) -> Iterator[Any]:
        if step == "process":
            hidden = (source / "noise.png").rename(source.parent / "noise.png")
            assert sweep(source, store)["described"] == 5
            hidden.rename(source / "noise.png")
        yield lambda *_: None

    manifest = sweep(source, store, overtaken)
    assert (manifest["described"], manifest["result_commits"]) == (6, 1)
    results = rows(store, "results")
    assert len(results) == len({row["sha256"] for row in results}) == 6
    assert len(rows(store, "images")) == 7
    [new] = [row for row in DeltaTable(str(store / "results")).to_pyarrow_table().to_pylist()
             if row["sweep"] == manifest["sweep"]]  # fmt: skip
    [noise] = [row for row in rows(store, "images") if row["path"] == "noise.png"]
    assert new["sha256"] == noise["sha256"]


def test_images_of_another_sweep_are_published_once(source: Path, store: Path) -> None:
    sweep(source, store)
    tiny_image(source / "mine.png", seed=3)
    published = False

    @contextmanager
    def overtaken(step: str, unit: str, total: int) -> Iterator[Any]:
        nonlocal published
        yield lambda *_: None
        if step == "process" and not published:
            published = True
            tiny_image(source / "theirs.png", seed=4)
            (source / "day0" / "face0.png").unlink()
            sweep(source, store)

    manifest = sweep(source, store, overtaken)
    assert manifest["published"] == {"put": 0, "delete": 0, "replaced": 0}  # the other listed later
    images = {row["path"] for row in rows(store, "images")}
    assert {"mine.png", "theirs.png"} < images
    assert "day0/face0.png" not in images
    assert manifest["statuses"] == {"no_face": 3, "ok": 4, "unreadable": 1}


def test_simultaneous_sweep_of_another_source_publishes_nothing(
    source: Path, store: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    tiny_image(other / "theirs.png", seed=4)

    @contextmanager
    def overtaken(step: str, unit: str, total: int) -> Iterator[Any]:
        yield lambda *_: None
        if step == "process":
            sweep(other, store)

    with pytest.raises(SourceLostError, match=r"contains the images of .*other, but --source"):
        sweep(source, store, overtaken)
    assert [row["path"] for row in rows(store, "images")] == ["theirs.png"]


def test_simultaneous_sweep_with_other_settings_is_reported(
    tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = tmp_path / "few"
    tiny_image(few / "a.png", seed=5)
    crop = FAST.crop.model_copy(update={"faces": "largest"})
    other = FAST.model_copy(update={"crop": crop})
    published: list[str] = []

    @contextmanager
    def overtaken(step: str, unit: str, total: int) -> Iterator[Any]:
        yield lambda *_: None
        if step == "process":
            settings = Settings(extract=other, execution=Execution(executor="in-process"))
            request = SweepRequest(str(few), str(store), settings)
            published.append(run_sweep(request)["sweep"])

    assert sweep(few, store, overtaken)["published"]["put"] == 0  # the other listed later
    (message,) = caplog.messages
    assert f"sweep {published[0]} published images in this store under another recipe" in message
    assert "replaced 0 rows" in message


def test_files_of_a_commit_have_statistics(source: Path, store: Path) -> None:
    sweep(source, store, block_images=3)
    files = Store(str(store)).snapshot("results").files()
    assert sum(file.rows for file in files.values()) == 6
    table = DeltaTable(str(store / "images"))
    [action] = table.get_add_actions(flatten=True).to_struct_array().to_pylist()
    assert (action["num_records"], action["min.path"], action["max.path"]) == (
        7, "broken.jpg", "noise.png"
    )  # fmt: skip
    assert (action["null_count.sha256"], action["null_count.path"]) == (0, 0)
    few = table.to_pyarrow_dataset().to_table(filter=None, columns=["path"])
    assert few.num_rows == 7
