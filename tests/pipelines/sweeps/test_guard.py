import pickle
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from fer_ray.errors import UserError
from fer_ray.execution.guard import STARTS, Fault, Guard
from fer_ray.pipelines.sweeps.blocks import _described
from fer_ray.pipelines.sweeps.describe import DescribeImage
from fer_ray.pipelines.sweeps.store_recipe import Recipe, recipe_of
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.root import Settings
from fer_ray.vocabulary import Status
from tests.pipelines.sweeps.conftest import FAST, Swept, rows
from tests.pipelines.sweeps.poison import DiesAtStart, Poisoned


def guard(seconds: float = 2) -> Guard:
    return Guard(pickle.dumps(Poisoned(FAST)), seconds)


def test_a_segmentation_fault_is_an_answer_and_the_next_image_is_done(
    faces: list[Path],
) -> None:
    guarded = guard(60)
    fault = guarded(b"crash")
    assert isinstance(fault, Fault)
    assert (fault.status, fault.stage) == (Status.CRASHED, "decode")
    assert "SIGSEGV" in fault.error
    described = guarded(faces[0].read_bytes())
    assert isinstance(described, pa.Table)
    assert described["status"].to_pylist() == ["ok"]
    guarded.close()


@pytest.mark.parametrize("way", [b"loop", b"sleep"])
def test_an_image_without_an_end_is_given_up_in_time(way: bytes) -> None:
    guarded = guard(1)
    guarded(b"no image")  # the child is up
    started = time.monotonic()
    fault = guarded(way)
    assert time.monotonic() - started < 3
    assert isinstance(fault, Fault)
    assert fault.status == Status.TIMED_OUT
    assert isinstance(guarded(b"no image"), pa.Table)
    guarded.close()


def test_an_exception_and_a_killed_child_cost_no_more_than_the_image(faces: list[Path]) -> None:
    guarded, others = guard(60), set(psutil.Process().children())
    fault = guarded(b"raise")
    assert isinstance(fault, Fault)
    assert fault.error == "ArithmeticError: what nobody thought of"
    [child] = set(psutil.Process().children()) - others
    child.kill()
    rows = _described(guarded, faces[0].read_bytes(), "")  # tried again, in a new child
    assert rows["status"].to_pylist() == ["ok"]
    guarded.close()


def test_a_child_that_is_killed_at_its_start_is_started_again(
    faces: list[Path], tmp_path: Path
) -> None:
    guarded = Guard(
        pickle.dumps(DiesAtStart(FAST, starts=tmp_path / "starts", times=STARTS - 1)), 60
    )
    rows = guarded(faces[0].read_bytes())
    guarded.close()
    assert isinstance(rows, pa.Table)
    assert rows["status"].to_pylist() == ["ok"]


def test_a_child_that_never_starts_is_told_and_not_tried_for_ever(tmp_path: Path) -> None:
    guarded = Guard(pickle.dumps(DiesAtStart(FAST, starts=tmp_path / "starts", times=99)), 60)
    with pytest.raises(UserError, match="died of SIGKILL before it could work, 3 times"):
        guarded(b"")
    assert len((tmp_path / "starts").read_text().splitlines()) == STARTS


def test_a_model_that_is_missing_is_told_as_such(tmp_path: Path) -> None:
    landmarks = FAST.landmarks.model_copy(update={"model": tmp_path / "none.dat"})
    lacking = ExtractSettings(landmarks=landmarks)
    with pytest.raises(UserError, match="no landmark model"):
        Guard(pickle.dumps(Poisoned(lacking)), 60)(b"")


def test_a_node_that_would_make_other_rows_than_the_recipes_is_refused() -> None:
    recipe = recipe_of(Settings(extract=FAST))
    Guard(pickle.dumps(DescribeImage(FAST, recipe=recipe)), 60)(b"")
    numpy = recipe.content["libraries"]["numpy"]
    extract = recipe.content["extract"]
    landmarks = {**extract["landmarks"], "model": "0" * 64}
    other = {
        "libraries": {**recipe.content["libraries"], "numpy": "0.1", "pillow": "0.2"},
        "extract": {**extract, "landmarks": landmarks},
    }
    asked = DescribeImage(FAST, recipe=Recipe("", {**recipe.content, **other}))
    with pytest.raises(UserError) as told:
        Guard(pickle.dumps(asked), 60)(b"")
    for said in (f"numpy is {numpy}, not 0.1", "pillow is", "landmark model", "not 000000"):
        assert said in str(told.value)
    assert "opencv" not in str(told.value)


def test_a_file_that_crashes_or_never_ends_costs_itself_alone(
    swept: Swept, source: Path, store: Path, faces: list[Path]
) -> None:
    for number, way in enumerate((b"crash", b"loop", b"crash", b"sleep")):
        (source / f"poison{number}.png").write_bytes(faces[0].read_bytes() + way)
    told = swept(describe=Poisoned(FAST), image_seconds=2)
    statuses = {row["path"]: row["status"] for row in rows(store, "images")}
    assert [statuses[f"poison{number}.png"] for number in range(4)] == [
        *("crashed", "timed_out", "crashed", "timed_out")
    ]
    assert told["statuses"]["ok"] == 5
    assert sum(told["statuses"].values()) == 11
    again = swept(describe=Poisoned(FAST), image_seconds=2)
    assert again["described"] == 0
    mended = swept(retry="all")
    assert mended["statuses"] == {"no_face": 1, "ok": 9, "unreadable": 1}
