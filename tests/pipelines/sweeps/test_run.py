import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from deltalake import DeltaTable

from fer_ray.errors import SourceLostError, UserError
from fer_ray.execution.progress import silent
from fer_ray.execution.tasks.task_runner import TaskRunner
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps import context, process
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.pipelines.sweeps.planning import list_folders
from fer_ray.pipelines.sweeps.planning.labelled_listing import list_source
from fer_ray.pipelines.sweeps.planning.plan_partition import summarise
from fer_ray.pipelines.sweeps.planning.plan_work import plan_work
from fer_ray.pipelines.sweeps.planning.prepare import prepare_sweep
from fer_ray.pipelines.sweeps.publishing import orphans
from fer_ray.pipelines.sweeps.publishing.fuse import FuseError
from fer_ray.pipelines.sweeps.publishing.publish import publish
from fer_ray.settings.extraction import ExtractSettings, Faces
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.sweeping import SweepSettings
from fer_ray.storage.delta_store import Store
from fer_ray.storage.planning import database, partitions, queries
from fer_ray.storage.table_folder import unique_name
from fer_ray.vocabulary import ExitCode
from tests.patience import wait_until
from tests.pipelines.sweeps.conftest import FAST, IN_PROCESS, ON_RAY, Swept, rows, tiny_image
from tests.pipelines.sweeps.poison import Poisoned

KINDS = ("new", "changed", "gone", "recipe", "failed", "missing", "reread", "relabelled", "same")


def planned(manifest: dict[str, dict[str, dict[str, int]]]) -> dict[str, int]:
    return {kind: work["images"] for kind, work in manifest["planned"].items()}


@pytest.mark.parametrize("execution", [IN_PROCESS, ON_RAY], ids=lambda one: one.executor)
def test_first_sweep(swept: Swept, store: Path, local_ray: int, execution: Execution) -> None:
    manifest = swept(execution=execution)
    assert planned(manifest) == {"new": 7}
    assert manifest["exit_code"] == ExitCode.DONE
    images = {row["path"]: row for row in rows(store, "images")}
    assert images.keys() == {
        *("day0/face0.png", "day0/face2.png", "day1/face1.png", "day1/face3.png"),
        *("day1/twin.png", "noise.png", "broken.jpg"),
    }
    assert images["day0/face0.png"]["status"] == "ok"
    assert images["noise.png"]["status"] == "no_face"
    assert images["broken.jpg"]["status"] == "unreadable"
    assert images["broken.jpg"]["stage"] == "decode"
    assert images["broken.jpg"]["error"]
    assert {row["recipe"] for row in images.values()} == {manifest["recipe"]}
    results = rows(store, "results")
    assert len(results) == len({row["sha256"] for row in results}) == 6
    assert {(row["sha256"], row["recipe"]) for row in results} == {
        (row["sha256"], row["recipe"]) for row in images.values()
    }


def test_duplicate_content_is_processed_once(swept: Swept, store: Path) -> None:
    assert swept()["described"] == 6
    one, two = (
        row for row in rows(store, "images") if "face0" in row["path"] or "twin" in row["path"]
    )
    assert one["sha256"] == two["sha256"]


def test_second_sweep_processes_nothing(swept: Swept, store: Path) -> None:
    swept()
    version = DeltaTable(str(store / "images")).version()
    manifest = swept()
    assert planned(manifest) == {"same": 7}
    assert manifest["read"] == manifest["described"] == 0
    assert manifest["published"]["put"] == manifest["published"]["delete"] == 0
    assert DeltaTable(str(store / "images")).version() == version


def test_only_changes_are_processed(
    swept: Swept, source: Path, store: Path, faces: list[Path], local_ray: int
) -> None:
    swept()
    before = {row["path"]: row for row in rows(store, "images")}
    (source / "day0" / "face2.png").touch()  # another time, the same content
    (source / "day1" / "face1.png").rename(source / "day1" / "moved.png")
    shutil.copy(faces[3], source / "day0" / "face0.png")  # the content of face3
    tiny_image(source / "noise.png", seed=2)
    manifest = swept(execution=ON_RAY)
    assert planned(manifest) == {"changed": 3, "new": 1, "gone": 1, "same": 3}
    assert manifest["read"] == 4
    assert manifest["described"] == 1  # the noise; all other contents are known
    after = {row["path"]: row for row in rows(store, "images")}
    assert after["day0/face2.png"] == before["day0/face2.png"]
    assert after["day0/face0.png"]["sha256"] == before["day1/face3.png"]["sha256"]
    assert after["day1/moved.png"]["sha256"] == before["day1/face1.png"]["sha256"]
    assert "day1/face1.png" not in after
    assert planned(swept()) == {"same": 7}


def test_unused_results_are_removed_after_grace(
    swept: Swept, source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept()
    (source / "day0" / "face2.png").unlink()
    (source / "noise.png").unlink()
    (source / "day1" / "twin.png").unlink()  # face0 still has this content
    manifest = swept()
    assert (manifest["results_removed"], manifest["results_waiting"]) == (0, 2)
    assert len(rows(store, "results")) == 6
    monkeypatch.setattr(orphans, "READER_GRACE", timedelta(0))  # an hour later
    manifest = swept()
    assert planned(manifest) == {"same": 4}
    assert (manifest["results_removed"], manifest["results_waiting"]) == (2, 0)
    assert len(rows(store, "results")) == 4
    assert swept()["results_removed"] == 0


def without_an_image(source: Path, store: Path, swept: Swept) -> str:
    """A content with results that no image uses, although its image is back in the source."""
    swept()
    [noise] = [row for row in rows(store, "images") if row["path"] == "noise.png"]
    (source / "noise.png").rename(source.parent / "noise.png")
    assert swept()["results_waiting"] == 1
    (source.parent / "noise.png").rename(source / "back.png")
    return str(noise["sha256"])


def remove_result(store: Store, sha256: str) -> None:
    """Remove the results of one content, as another sweep would."""
    base, folder = store.snapshot("results"), store.folder("results")
    rows = base.table.to_pyarrow_table(filters=[("sha256", "!=", sha256)])
    new = folder.write(rows, unique_name("results"))
    store.commit(base, [new], rows.schema, {}, list(base.files()))


def test_results_removed_by_another_sweep(
    swept: Swept, source: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = without_an_image(source, store, swept)

    @contextmanager
    def removing(step: str, unit: str, total: int) -> Iterator[Any]:
        yield lambda *_: None
        if step == "process":
            remove_result(Store(str(store)), key)

    manifest = run_sweep(SweepRequest(str(source), str(store), Settings(extract=FAST), removing))
    assert (manifest["read"], manifest["published"]["put"]) == (1, 0)
    assert "1 contents are left to the next sweep" in caplog.text
    assert "back.png" not in {row["path"] for row in rows(store, "images")}
    manifest = swept()
    assert (planned(manifest)["new"], manifest["described"], manifest["published"]["put"]) == (
        1,
        1,
        1,
    )


def test_results_published_by_another_sweep_stay(
    swept: Swept, source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_an_image(source, store, swept)
    monkeypatch.setattr(orphans, "READER_GRACE", timedelta(0))
    (source / "back.png").rename(source.parent / "back.png")
    with prepare_sweep(
        SweepRequest(str(source), str(store), Settings(extract=FAST), silent)
    ) as slow:
        list_source(slow)
        plan_work(slow)
        assert publish(slow) == {"put": 0, "delete": 0, "replaced": 0}
        (source.parent / "back.png").rename(source / "back.png")
        assert swept()["described"] == 0
        orphans.remove_orphans(slow, [item["sweep"] for item in slow.store.archive.manifests()])
        assert slow.record.results_removed == 0
    assert len(rows(store, "results")) == 6


def test_examples_of_many_failures_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MEMORY", "64MB")
    with database.open_database() as opened:
        opened.run(queries.IMAGES)
        opened.run(
            "INSERT INTO images (path, status, error) SELECT format('folder/of/days/{:09}.jpg', i),"
            " 'unreadable', 'damaged' FROM range(2000000) r(i)"
        )
        summary = summarise(opened, "images")
    kind = ("unreadable", "damaged")
    assert (summary.images, summary.failures[kind]) == (2_000_000, 2_000_000)
    assert summary.examples[kind][:2] == [
        "folder/of/days/000000000.jpg", "folder/of/days/000000001.jpg"
    ]  # fmt: skip
    assert len(summary.examples[kind]) == 5


def test_full_database_raises() -> None:
    def fill() -> None:
        with database.open_database() as opened:
            opened.run("SET memory_limit = '8MB'")
            opened.run("SELECT list(format('{:0999}', i)) FROM range(1000000) r(i)")

    with pytest.raises(UserError, match="set TMPDIR to a folder"):
        fill()


def test_small_result_files_are_joined(source: Path, store: Path) -> None:
    for number in range(20):
        tiny_image(source / "many" / f"{number}.png", seed=number)
    execution = Execution(executor="in-process", block_images=2)
    settings = Settings(extract=FAST, execution=execution, sweep=SweepSettings(commit_rows=1))
    manifest = run_sweep(SweepRequest(str(source), str(store), settings, silent))
    assert manifest["result_commits"] >= 8
    assert manifest["tables"]["results"]["files"] == 1
    joined = manifest["tables"]["results"]["version"]
    assert rows(store, "results") == rows(store, "results", joined - 1)
    assert len(DeltaTable(str(store / "results"), version=joined - 1).file_uris()) >= 8


def test_threads_give_the_same_rows(source: Path, store: Path, tmp_path: Path) -> None:
    for workers, target in ((1, store), (2, tmp_path / "other")):
        execution = Execution(executor="in-process", block_images=2, workers=workers)
        settings = Settings(extract=FAST, execution=execution)
        manifest = run_sweep(SweepRequest(str(source), str(target), settings, silent))
        assert manifest["workers"] == workers
    for table in ("images", "results"):
        assert rows(store, table) == rows(tmp_path / "other", table)


def test_images_are_processed_while_ray_starts(
    source: Path, store: Path, tmp_path: Path, local_ray: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A content of the first blocks is not processed again by the tasks on Ray."""
    for number in range(40):  # each of them twice
        tiny_image(source / "many" / f"{number}.png", seed=100 + number % 20)
    start, done = TaskRunner.start, list[int]()

    def start_slowly(runner: TaskRunner) -> None:
        wait_until(lambda: len([*store.glob("results/*.parquet")]) >= 2, every=0.02)
        start(runner)
        done.append(len([*store.glob("results/*.parquet")]))

    monkeypatch.setattr(process, "starts_locally", lambda: True)
    monkeypatch.setattr(TaskRunner, "start", start_slowly)
    for executor, target in (("ray", store), ("in-process", tmp_path / "other")):
        execution = Execution(executor=executor, block_images=2)
        settings = Settings(extract=FAST, execution=execution)
        manifest = run_sweep(SweepRequest(str(source), str(target), settings, silent))
        assert manifest["described"] == 26
        assert manifest["read"] == 47
    assert 2 <= done[0] < 13  # files of at most two contents
    for table in ("images", "results"):
        assert rows(store, table) == rows(tmp_path / "other", table)


def test_many_partitions_give_the_same_rows(
    source: Path, store: Path, tmp_path: Path, local_ray: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process and on Ray; also after the number of partitions has changed."""

    def sweep(target: Path, executor: str) -> dict[str, Any]:
        settings = Settings(extract=FAST, execution=Execution(executor=executor))
        return run_sweep(SweepRequest(str(source), str(target), settings, silent))

    sweep(store, "in-process")
    monkeypatch.setattr(partitions, "MAX_ROWS", 2)
    monkeypatch.setattr(context, "MAX_IN_PROCESS", 0)
    tiny_image(source / "noise.png", seed=7)
    (source / "day0" / "face2.png").rename(source / "day1" / "moved.png")
    assert planned(sweep(store, "ray")) == {"same": 5, "new": 1, "gone": 1, "changed": 1}
    files = DeltaTable(str(store / "images")).file_uris()
    assert 2 < len(files) <= 4
    assert planned(sweep(store, "ray")) == {"same": 7}
    monkeypatch.undo()
    (source / "day0" / "face0.png").touch()
    assert planned(sweep(store, "in-process")) == {"same": 6, "changed": 1}
    unchanged = set(files) & set(DeltaTable(str(store / "images")).file_uris())
    assert len(unchanged) == len(files) - 1
    sweep(tmp_path / "other", "in-process")
    assert rows(store, "images") == rows(tmp_path / "other", "images")


def test_listing_that_starts_ray_finds_every_folder(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks of this process go on while Ray starts; their folders must not be lost."""
    source, starts = tmp_path / "many", [0]
    for number in range(30):
        (source / f"{number:02}").mkdir(parents=True)
        (source / f"{number:02}" / "a.png").touch()

    def start(runner: TaskRunner) -> None:
        starts[0] += 1
        time.sleep(0.02)

    monkeypatch.setattr(TaskRunner, "start", start)
    monkeypatch.setattr(list_folders, "TASK_IMAGES", 1)
    monkeypatch.setattr(context, "MAX_IN_PROCESS", 2)
    for _ in range(5):
        with prepare_sweep(SweepRequest(str(source), str(store), Settings())) as sweep:
            list_source(sweep)
            assert sweep.files.listed == 30
    assert starts[0] >= 5


def test_gone_images_can_stay(swept: Swept, source: Path, store: Path) -> None:
    swept()
    (source / "noise.png").unlink()
    assert swept(gone="keep")["published"]["delete"] == 0
    assert "noise.png" in {row["path"] for row in rows(store, "images")}
    assert swept()["published"]["delete"] == 1


def test_another_recipe_recomputes_all_rows(
    swept: Swept, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = swept()["recipe"]
    monkeypatch.setattr(orphans, "READER_GRACE", timedelta(0))
    crop = FAST.crop.model_copy(update={"size_px": 200})
    manifest = swept(extract=FAST.model_copy(update={"crop": crop}))
    assert planned(manifest) == {"recipe": 7}
    assert manifest["read"] == 0  # the contents are known
    assert manifest["recipe"] != first
    assert {row["recipe"] for row in rows(store, "results")} == {manifest["recipe"]}


def test_earlier_versions_are_readable(swept: Swept, source: Path, store: Path) -> None:
    before = swept()
    images, results = rows(store, "images"), rows(store, "results")
    shutil.rmtree(source / "day0")
    swept()
    assert len(rows(store, "images")) == 5
    versions = before["tables"]
    assert rows(store, "images", versions["images"]["version"]) == images
    assert rows(store, "results", versions["results"]["version"]) == results


def test_label_changes_process_no_image(swept: Swept, source: Path, store: Path) -> None:
    labels = source / "labels.csv"
    labels.write_text("path,emotion,person\nday0/face0.png,happy,P1\nnoise.png,fear,P2\n")
    swept()
    known = {
        row["path"]: (row["emotion"], row["label"], row["subject"]) for row in rows(store, "images")
    }
    assert known["day0/face0.png"] == ("happy", 5, "P1")
    assert known["day0/face2.png"] == (None, None, None)
    labels.write_text("path,emotion,person\nday0/face0.png,sadness,P1\nnoise.png,fear,P2\n")
    manifest = swept()
    assert planned(manifest) == {"relabelled": 1, "same": 6}
    assert manifest["read"] == manifest["described"] == 0
    known = {row["path"]: row["emotion"] for row in rows(store, "images")}
    assert known["day0/face0.png"] == "sadness"


def test_failed_images_are_retried_on_request(swept: Swept) -> None:
    swept()
    assert planned(swept()) == {"same": 7}
    manifest = swept(retry="all")
    assert planned(manifest) == {"same": 6, "failed": 1}
    assert manifest["described"] == 1
    assert manifest["statuses"]["unreadable"] == 1
    assert planned(swept()) == {"same": 7}


def test_too_many_failures_still_publish(swept: Swept, store: Path) -> None:
    manifest = swept(max_error_share=0.1)
    assert manifest["exit_code"] == ExitCode.TOO_MANY_ERRORS
    assert len(rows(store, "images")) == 7
    assert swept(max_error_share=0.2)["exit_code"] == ExitCode.DONE


def test_empty_source_changes_nothing(swept: Swept, source: Path, store: Path) -> None:
    swept()
    for file in [*source.rglob("*.png"), *source.rglob("*.jpg")]:
        file.unlink()
    with pytest.raises(SourceLostError, match="Is it mounted"):
        swept()
    assert len(rows(store, "images")) == 7


def test_suspicious_source_changes_nothing(swept: Swept, source: Path, store: Path) -> None:
    (source / "labels.csv").write_text("path,emotion,person\nnoise.png,fear,P2\n")
    swept()
    before = rows(store, "images")
    (source / "labels.csv").unlink()
    with pytest.raises(SourceLostError, match=r"labels\.csv missing.*labels_gone=true"):
        swept()
    for path in ("day0/face0.png", "day0/face2.png", "day1/face1.png", "day1/face3.png"):
        (source / path).unlink()
    with pytest.raises(SourceLostError, match=r"4 of the store's 7 .*day0/face0\.png"):
        swept()
    moved = source.parent / "other"
    source.rename(moved)
    source.symlink_to(moved)
    with pytest.raises(SourceLostError, match=rf"images of {source}, but .*source_moved=true"):
        swept()
    assert rows(store, "images") == before
    manifest = swept(source_moved=True, labels_gone=True, max_gone_share=1)
    assert planned(manifest) == {"gone": 4, "relabelled": 1, "same": 2}
    assert planned(swept()) == {"same": 3}  # the new place is remembered


def test_reread_finds_changes_with_old_time(swept: Swept, source: Path, store: Path) -> None:
    swept()
    noise = source / "noise.png"
    seen, content = noise.stat(), bytearray(noise.read_bytes())
    content[-6] ^= 1
    noise.write_bytes(content)
    os.utime(noise, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert planned(swept()) == {"same": 7}
    manifest = swept(reread_share=1)
    assert planned(manifest) == {"reread": 7}
    assert (manifest["read"], manifest["described"], manifest["published"]["put"]) == (7, 1, 1)


def test_clock_ahead_is_overtaken(
    swept: Swept, source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = time.time_ns() + 10**15
    monkeypatch.setattr(time, "time_ns", lambda: ahead)
    swept()
    monkeypatch.undo()
    tiny_image(source / "noise.png", seed=9)
    assert swept()["published"]["put"] == 1
    assert planned(swept()) == {"same": 7}


def test_retried_images_keep_results_until_replaced(
    swept: Swept, source: Path, store: Path, faces: list[Path]
) -> None:
    (source / "poison.png").write_bytes(faces[1].read_bytes() + b"crash")
    swept(steps=Poisoned(FAST))
    before = rows(store, "results")
    version = DeltaTable(str(store / "results")).version()
    manifest = swept(retry="all")
    assert planned(manifest)["failed"] == 2
    assert manifest["statuses"]["ok"] == 6
    after = rows(store, "results")
    assert len(after) == len(before) == 7
    states = [rows(store, "results", number) for number in range(version, version + 2)]
    assert [len(state) for state in states] == [7, 7]
    [replaced] = [row for row in before if row not in after and row["status"] == "crashed"]
    [retried] = [row for row in after if row["sha256"] == replaced["sha256"]]
    assert (replaced["status"], retried["status"]) == ("crashed", "ok")


def test_fuse_stops_before_any_commit(swept: Swept, source: Path, store: Path) -> None:
    for file in [*source.rglob("*.png"), *source.rglob("*.jpg")]:
        file.write_bytes(file.read_bytes() + b"raise")
    with pytest.raises(
        FuseError, match="first 4 images failed with the same error: ArithmeticError"
    ):
        swept(steps=Poisoned(FAST), fuse_images=4, commit_rows=1)
    for table in ("images", "results", "readings"):
        assert not list((store / table).rglob("*.*"))
    [page] = (store / "sweeps").glob("2*.html")
    assert "exit code 7" in page.read_text()
    assert "failed with the same error" in page.read_text()
    assert swept(steps=Poisoned(FAST), fuse_images=0)["statuses"] == {"crashed": 7}
    again = swept(steps=Poisoned(FAST), fuse_images=4, retry="all")
    assert (again["described"], again["statuses"]) == (6, {"crashed": 7})  # unchanged


@pytest.mark.thorough
def test_rows_of_all_faces_or_the_largest(
    swept: Swept, source: Path, store: Path, faces: list[Path]
) -> None:
    import cv2
    import numpy as np

    one, two = (cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in faces[:2])
    small = cv2.resize(two, None, fx=0.6, fy=0.6)
    ground = np.full((one.shape[0], small.shape[1]), 128, np.uint8)
    ground[: small.shape[0]] = small
    shutil.rmtree(source)
    source.mkdir()
    cv2.imwrite(str(source / "pair.png"), np.hstack([one, ground]))

    def of_pair() -> list[dict[str, object]]:
        [image] = [row for row in rows(store, "images") if row["path"] == "pair.png"]
        key = {name: image[name] for name in ("sha256", "recipe")}
        return [row for row in rows(store, "results") if key.items() <= row.items()]

    swept(extract=exhaustive("one"))
    assert [row["status"] for row in of_pair()] == ["several_faces"]
    swept(extract=exhaustive("all"))
    first, second = of_pair()
    assert first["face_id"] != second["face_id"]
    assert first["box_xywh"][2] > second["box_xywh"][2]
    assert {row["faces"] for row in rows(store, "images") if row["path"] == "pair.png"} == {2}
    swept(extract=exhaustive("largest"))
    [largest] = of_pair()
    assert (largest["other_faces"], first["other_faces"]) == (1, 0)
    assert {**largest, "recipe": "", "other_faces": 0} == {**first, "recipe": ""}


def exhaustive(faces: Faces) -> ExtractSettings:
    """Settings of a search that covers every position and size of large faces."""
    update = {"search": "exhaustive", "min_face_share": 0.2, "faces": faces}
    return FAST.model_copy(update={"crop": FAST.crop.model_copy(update=update)})


def test_store_is_readable_by_pandas_duckdb_polars(swept: Swept, store: Path) -> None:
    swept()
    images, results = (DeltaTable(str(store / name)) for name in ("images", "results"))
    joined = images.to_pandas().merge(results.to_pandas(), on=["sha256", "recipe"])
    assert isinstance(joined, pd.DataFrame)
    assert len(joined) == 7
    assert pl.read_delta(str(store / "images")).height == 7
    theirs = results.to_pyarrow_dataset()  # noqa: F841 (DuckDB finds it by its name)
    [(count, width)] = duckdb.sql(
        "SELECT count(*), max(len(landmarks_xy)) FROM theirs WHERE status = 'ok'"
    ).fetchall()
    assert (count, width) == (4, 136)
