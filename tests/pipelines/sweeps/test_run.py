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
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from fer_ray.errors import SourceLostError, UserError
from fer_ray.execution.progress import silent
from fer_ray.pipelines.sweep import look, make_plan, run_sweep
from fer_ray.pipelines.sweeps import orphans, prepare
from fer_ray.pipelines.sweeps.fuse import FuseError
from fer_ray.pipelines.sweeps.prepare import prepared
from fer_ray.pipelines.sweeps.publish import publish
from fer_ray.settings.root import Settings
from fer_ray.storage.delta_store import Store
from fer_ray.storage.ledger import ledger, scratch
from fer_ray.vocabulary import ExitCode
from tests.pipelines.sweeps.conftest import FAST, Swept, rows, tiny_image
from tests.pipelines.sweeps.poison import Poisoned

KINDS = ("new", "changed", "gone", "recipe", "failed", "missing", "reread", "relabelled", "same")


def planned(told: dict[str, dict[str, dict[str, int]]]) -> dict[str, int]:
    return {kind: found["images"] for kind, found in told["planned"].items()}


def test_a_first_sweep_gives_each_image_one_row_and_each_content_its_results(
    swept: Swept, store: Path
) -> None:
    told = swept()
    assert planned(told) == {"new": 7}
    assert told["exit_code"] == ExitCode.DONE
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
    assert {row["recipe"] for row in images.values()} == {told["recipe"]}
    results = rows(store, "results")
    assert len(results) == len({row["sha256"] for row in results}) == 6
    assert {(row["sha256"], row["recipe"]) for row in results} == {
        (row["sha256"], row["recipe"]) for row in images.values()
    }


def test_the_same_photo_under_two_paths_gives_two_rows_and_is_described_once(
    swept: Swept, store: Path
) -> None:
    assert swept()["described"] == 6
    one, two = (
        row for row in rows(store, "images") if "face0" in row["path"] or "twin" in row["path"]
    )
    assert one["sha256"] == two["sha256"]


def test_a_second_sweep_with_nothing_new_does_no_image_work(swept: Swept, store: Path) -> None:
    swept()
    version = DeltaTable(str(store / "images")).version()
    told = swept()
    assert planned(told) == {"same": 7}
    assert told["read"] == told["described"] == 0
    assert told["published"]["put"] == told["published"]["delete"] == 0
    assert DeltaTable(str(store / "images")).version() == version


def test_only_what_has_changed_is_worked_on(
    swept: Swept, source: Path, store: Path, faces: list[Path]
) -> None:
    swept()
    before = {row["path"]: row for row in rows(store, "images")}
    (source / "day0" / "face2.png").touch()  # another time, the same content
    (source / "day1" / "face1.png").rename(source / "day1" / "moved.png")
    shutil.copy(faces[3], source / "day0" / "face0.png")  # the content of face3
    tiny_image(source / "noise.png", seed=2)
    told = swept()
    assert planned(told) == {"changed": 3, "new": 1, "gone": 1, "same": 3}
    assert told["read"] == 4
    assert told["described"] == 1  # the noise: every other content was known
    after = {row["path"]: row for row in rows(store, "images")}
    assert after["day0/face2.png"] == before["day0/face2.png"]
    assert after["day0/face0.png"]["sha256"] == before["day1/face3.png"]["sha256"]
    assert after["day1/moved.png"]["sha256"] == before["day1/face1.png"]["sha256"]
    assert "day1/face1.png" not in after
    assert planned(swept()) == {"same": 7}


def test_results_that_no_image_has_any_more_are_removed_once_no_reader_looks_for_them(
    swept: Swept, source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept()
    (source / "day0" / "face2.png").unlink()
    (source / "noise.png").unlink()
    (source / "day1" / "twin.png").unlink()  # face0 still has that content
    told = swept()
    assert (told["results_removed"], told["results_waiting"]) == (0, 2)
    assert len(rows(store, "results")) == 6
    monkeypatch.setattr(orphans, "READERS", timedelta(0))  # an hour later
    monkeypatch.setattr(orphans, "MOST_REMOVED", 1)
    told = swept()
    assert planned(told) == {"same": 4}
    assert (told["results_removed"], told["results_waiting"]) == (2, 0)
    assert len(rows(store, "results")) == 4
    assert swept()["results_removed"] == 0


def without_an_image(source: Path, store: Path, swept: Swept) -> pa.Table:
    """The key of results that the store has and no image any more, which is then back."""
    swept()
    [noise] = [row for row in rows(store, "images") if row["path"] == "noise.png"]
    (source / "noise.png").rename(source.parent / "noise.png")
    assert swept()["results_waiting"] == 1
    (source.parent / "noise.png").rename(source / "back.png")
    return pa.table({name: [noise[name]] for name in ("sha256", "recipe")})


def test_an_image_whose_results_another_sweep_removes_meanwhile_is_left_to_the_next_one(
    swept: Swept, source: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = without_an_image(source, store, swept)

    @contextmanager
    def removing(step: str, unit: str, total: int) -> Iterator[Any]:
        yield lambda *_: None
        if step == "read":
            kept = Store(str(store))
            kept.remove(kept.snapshot("results"), keys, {})

    told = run_sweep(str(source), str(store), Settings(extract=FAST), removing)
    assert (told["read"], told["published"]["put"]) == (1, 0)
    assert "1 contents are left to the next sweep" in caplog.text
    assert "back.png" not in {row["path"] for row in rows(store, "images")}
    told = swept()
    assert (planned(told)["new"], told["described"], told["published"]["put"]) == (1, 1, 1)


def test_results_that_another_sweep_has_published_meanwhile_are_not_removed(
    swept: Swept, source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_an_image(source, store, swept)
    monkeypatch.setattr(orphans, "READERS", timedelta(0))
    (source / "back.png").rename(source.parent / "back.png")
    with prepared(str(source), str(store), Settings(extract=FAST), silent) as slow:
        look(slow)
        make_plan(slow)
        assert publish(slow) == {"put": 0, "delete": 0, "replaced": 0}
        (source.parent / "back.png").rename(source / "back.png")
        assert swept()["described"] == 0
        orphans.remove_orphans(slow, [one["sweep"] for one in slow.store.archive.manifests()])
        assert slow.record.orphans == 0
    assert len(rows(store, "results")) == 6


def test_millions_of_failed_images_are_told_with_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "MEMORY", "64MB")
    kept = ledger.Ledger(tmp_path, ledger.This("", "", 0, "delete", "unread", 0, 0))
    kept.scratch.run(
        "INSERT INTO images (path, status, error) SELECT format('folder/of/days/{:09}.jpg', i), "
        "'unreadable', 'damaged' FROM range(2000000) r(i)"
    )
    [kind] = kept.examples()
    assert (kind["images"], kind["examples"][:2]) == (
        2_000_000, ["folder/of/days/000000000.jpg", "folder/of/days/000000001.jpg"]
    )  # fmt: skip
    assert len(kind["examples"]) == 5
    kept.close()


def test_a_ledger_that_has_no_room_gives_one_message() -> None:
    with (
        pytest.raises(UserError, match=r"Set TMPDIR to a folder with room"),
        prepare._scratch() as folder,
        duckdb.connect(str(folder / "small"), config={"memory_limit": "8MB"}) as small,
    ):
        small.execute("SELECT list(format('{:0999}', i)) FROM range(1000000) r(i)")


def test_rows_of_images_that_are_gone_are_kept_if_asked_for(
    swept: Swept, source: Path, store: Path
) -> None:
    swept()
    (source / "noise.png").unlink()
    assert swept(gone="keep")["published"]["delete"] == 0
    assert "noise.png" in {row["path"] for row in rows(store, "images")}
    assert swept()["published"]["delete"] == 1


def test_another_recipe_makes_all_rows_anew(
    swept: Swept, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = swept()["recipe"]
    monkeypatch.setattr(orphans, "READERS", timedelta(0))
    crop = FAST.crop.model_copy(update={"size_px": 200})
    told = swept(extract=FAST.model_copy(update={"crop": crop}))
    assert planned(told) == {"recipe": 7}
    assert told["read"] == 0  # what lies where is known
    assert told["recipe"] != first
    assert {row["recipe"] for row in rows(store, "results")} == {told["recipe"]}


def test_the_state_before_can_be_read_again(swept: Swept, source: Path, store: Path) -> None:
    before = swept()
    images, results = rows(store, "images"), rows(store, "results")
    shutil.rmtree(source / "day0")
    swept()
    assert len(rows(store, "images")) == 5
    versions = before["tables"]
    assert rows(store, "images", versions["images"]["version"]) == images
    assert rows(store, "results", versions["results"]["version"]) == results


def test_labels_are_taken_and_a_new_label_needs_no_image_work(
    swept: Swept, source: Path, store: Path
) -> None:
    labels = source / "labels.csv"
    labels.write_text("path,emotion,person\nday0/face0.png,happy,P1\nnoise.png,fear,P2\n")
    swept()
    known = {
        row["path"]: (row["emotion"], row["label"], row["subject"]) for row in rows(store, "images")
    }
    assert known["day0/face0.png"] == ("happy", 5, "P1")
    assert known["day0/face2.png"] == (None, None, None)
    labels.write_text("path,emotion,person\nday0/face0.png,sadness,P1\nnoise.png,fear,P2\n")
    told = swept()
    assert planned(told) == {"relabelled": 1, "same": 6}
    assert told["read"] == told["described"] == 0
    known = {row["path"]: row["emotion"] for row in rows(store, "images")}
    assert known["day0/face0.png"] == "sadness"


def test_failed_images_are_tried_again_only_if_asked_for(swept: Swept) -> None:
    swept()
    assert planned(swept()) == {"same": 7}
    told = swept(retry="all")
    assert planned(told) == {"same": 6, "failed": 1}
    assert told["described"] == 1
    assert told["statuses"]["unreadable"] == 1
    assert planned(swept()) == {"same": 7}


def test_too_many_failed_images_fail_a_sweep_that_publishes_the_rest(
    swept: Swept, store: Path
) -> None:
    told = swept(max_error_share=0.1)
    assert told["exit_code"] == ExitCode.TOO_MANY_ERRORS
    assert len(rows(store, "images")) == 7
    assert swept(max_error_share=0.2)["exit_code"] == ExitCode.DONE


def test_an_emptied_source_changes_nothing(swept: Swept, source: Path, store: Path) -> None:
    swept()
    for file in [*source.rglob("*.png"), *source.rglob("*.jpg")]:
        file.unlink()
    with pytest.raises(SourceLostError, match="Is it mounted"):
        swept()
    assert len(rows(store, "images")) == 7


def test_a_source_that_lost_most_images_or_all_labels_or_is_another_one_changes_nothing(
    swept: Swept, source: Path, store: Path
) -> None:
    (source / "labels.csv").write_text("path,emotion,person\nnoise.png,fear,P2\n")
    swept()
    before = rows(store, "images")
    (source / "labels.csv").unlink()
    with pytest.raises(SourceLostError, match=r"labels\.csv gone.*labels_gone=true"):
        swept()
    for path in ("day0/face0.png", "day0/face2.png", "day1/face1.png", "day1/face3.png"):
        (source / path).unlink()
    with pytest.raises(SourceLostError, match=r"4 of the store's 7 .*day0/face0\.png"):
        swept()
    other = source.parent / "other"
    source.rename(other)
    source.symlink_to(other)
    with pytest.raises(SourceLostError, match=rf"images of {source}, and .*source_moved=true"):
        swept()
    assert rows(store, "images") == before
    told = swept(source_moved=True, labels_gone=True, max_gone_share=1)
    assert planned(told) == {"gone": 4, "relabelled": 1, "same": 2}
    assert planned(swept()) == {"same": 3}  # the new place is remembered


def test_content_that_changed_under_its_old_time_is_found_if_asked_for(
    swept: Swept, source: Path, store: Path
) -> None:
    swept()
    noise = source / "noise.png"
    seen, content = noise.stat(), bytearray(noise.read_bytes())
    content[-6] ^= 1
    noise.write_bytes(content)
    os.utime(noise, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert planned(swept()) == {"same": 7}
    told = swept(reread_share=1)
    assert planned(told) == {"reread": 7}
    assert (told["read"], told["described"], told["published"]["put"]) == (7, 1, 1)


def test_what_was_listed_by_a_clock_that_is_ahead_is_overtaken(
    swept: Swept, source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = time.time_ns() + 10**15
    monkeypatch.setattr(prepare.time, "time_ns", lambda: ahead)
    swept()
    monkeypatch.undo()
    tiny_image(source / "noise.png", seed=9)
    assert swept()["published"]["put"] == 1
    assert planned(swept()) == {"same": 7}


def test_images_that_are_tried_again_keep_their_results_until_there_are_others(
    swept: Swept, source: Path, store: Path, faces: list[Path]
) -> None:
    (source / "poison.png").write_bytes(faces[1].read_bytes() + b"crash")
    swept(describe=Poisoned(FAST))
    before = rows(store, "results")
    version = DeltaTable(str(store / "results")).version()
    told = swept(retry="all")
    assert planned(told)["failed"] == 2
    assert told["statuses"]["ok"] == 6
    after = rows(store, "results")
    assert len(after) == len(before) == 7
    states = [rows(store, "results", one) for one in range(version, version + 2)]
    assert [len(state) for state in states] == [7, 7]
    [replaced] = [row for row in before if row not in after and row["status"] == "crashed"]
    [mended] = [row for row in after if row["sha256"] == replaced["sha256"]]
    assert (replaced["status"], mended["status"]) == ("crashed", "ok")


def test_an_error_that_all_first_images_raise_ends_the_sweep_and_changes_nothing(
    swept: Swept, source: Path, store: Path
) -> None:
    for file in [*source.rglob("*.png"), *source.rglob("*.jpg")]:
        file.write_bytes(file.read_bytes() + b"raise")
    with pytest.raises(FuseError, match=r"first 6 images failed alike: ArithmeticError"):
        swept(describe=Poisoned(FAST), fuse_images=4, commit_rows=1)
    assert not (store / "images").exists()
    assert not (store / "results").exists()
    [page] = (store / "sweeps").glob("*.html")
    assert "exit code 7" in page.read_text()
    assert "failed alike" in page.read_text()
    assert swept(describe=Poisoned(FAST), fuse_images=0)["statuses"] == {"crashed": 7}
    again = swept(describe=Poisoned(FAST), fuse_images=4, retry="all")
    assert (again["described"], again["statuses"]) == (6, {"crashed": 7})  # as known before


def test_all_faces_or_the_largest_have_rows_of_their_own(
    swept: Swept, source: Path, store: Path, faces: list[Path]
) -> None:
    import cv2
    import numpy as np

    one, two = (cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in faces[:2])
    small = cv2.resize(two, None, fx=0.6, fy=0.6)
    ground = np.full((one.shape[0], small.shape[1]), 128, np.uint8)
    ground[: small.shape[0]] = small
    cv2.imwrite(str(source / "pair.png"), np.hstack([one, ground]))

    def of_pair() -> list[dict[str, object]]:
        [image] = [row for row in rows(store, "images") if row["path"] == "pair.png"]
        key = {name: image[name] for name in ("sha256", "recipe")}
        return [row for row in rows(store, "results") if key.items() <= row.items()]

    swept(extract=Exhaustive)
    assert [row["status"] for row in of_pair()] == ["several_faces"]
    swept(extract=Exhaustive, faces="all")
    first, second = of_pair()
    assert first["face_id"] != second["face_id"]
    assert first["box_xywh"][2] > second["box_xywh"][2]  # type: ignore[index]
    assert {row["faces"] for row in rows(store, "images") if row["path"] == "pair.png"} == {2}
    swept(extract=Exhaustive, faces="largest")
    [largest] = of_pair()
    assert {**largest, "recipe": ""} == {**first, "recipe": ""}


Exhaustive = FAST.model_copy(
    update={"crop": FAST.crop.model_copy(update={"search": "exhaustive", "min_face_share": 0.2})}
)


def test_pandas_duckdb_and_polars_read_the_store_without_ray(swept: Swept, store: Path) -> None:
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
