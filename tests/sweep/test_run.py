import shutil
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest
from deltalake import DeltaTable

from fer_ray.errors import ExitCode, SourceLostError
from tests.sweep.conftest import FAST, Swept, rows, tiny_image

KINDS = ("new", "changed", "gone", "recipe", "failed", "missing", "relabelled", "same")


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


def test_results_that_no_image_has_any_more_are_removed(
    swept: Swept, source: Path, store: Path
) -> None:
    swept()
    (source / "day0" / "face2.png").unlink()
    (source / "day1" / "twin.png").unlink()  # face0 still has that content
    assert swept()["results_removed"] == 1
    assert len(rows(store, "results")) == 5


def test_rows_of_images_that_are_gone_are_kept_if_asked_for(
    swept: Swept, source: Path, store: Path
) -> None:
    swept()
    (source / "noise.png").unlink()
    assert swept(gone="keep")["published"]["delete"] == 0
    assert "noise.png" in {row["path"] for row in rows(store, "images")}
    assert swept()["published"]["delete"] == 1


def test_another_recipe_makes_all_rows_anew(swept: Swept, store: Path) -> None:
    first = swept()["recipe"]
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
        [sha256] = [row["sha256"] for row in rows(store, "images") if row["path"] == "pair.png"]
        return [row for row in rows(store, "results") if row["sha256"] == sha256]

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
