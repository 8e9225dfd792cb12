import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from fer_ray.errors import UserError
from fer_ray.execution.guard import STARTS, Fault, Guard
from fer_ray.execution.guarded_batches import BATCH_IMAGES, process_guarded
from fer_ray.pipelines.sweeps.planning.store_recipe import StoreRecipe, build_store_recipe
from fer_ray.pipelines.sweeps.sweep_steps import SweepSteps
from fer_ray.settings.extraction import ExtractSettings
from fer_ray.settings.root import Execution, Settings
from fer_ray.vocabulary import Status
from tests.patience import patience
from tests.pipelines.sweeps.conftest import FAST, Swept, rows
from tests.pipelines.sweeps.poison import Busy, DiesAtStart, Poisoned, Slow


def guard(seconds: float = 2) -> Guard:
    return Guard(pickle.dumps(Poisoned(FAST)), seconds)


def test_segmentation_fault_costs_one_image(faces: list[Path]) -> None:
    guarded = guard(60)
    fault = guarded([b"crash"])
    assert isinstance(fault, Fault)
    assert (fault.status, fault.stage) == (Status.CRASHED, "decode")
    assert "SIGSEGV" in fault.error
    processed = guarded([faces[0].read_bytes()])
    assert isinstance(processed, pa.Table)
    assert processed["status"].to_pylist() == ["ok"]
    guarded.close()


@pytest.mark.parametrize("suffix", [b"loop", pytest.param(b"sleep", marks=pytest.mark.thorough)])
def test_endless_image_times_out(suffix: bytes) -> None:
    guarded = guard(1)
    guarded([b"no image"])  # the child is up
    started = time.monotonic()
    fault = guarded([suffix])
    assert time.monotonic() - started < patience(6)
    assert isinstance(fault, Fault)
    assert fault.status == Status.TIMED_OUT
    assert isinstance(guarded([b"no image"]), pa.Table)
    guarded.close()


@pytest.mark.thorough
def test_faults_within_a_batch_cost_only_themselves(faces: list[Path]) -> None:
    guarded, good = guard(1.5), [file.read_bytes() for file in faces]
    images = [*good[:2], b"crash", b"no image", b"sleep", *good[2:], b"raise", *good]
    assert len(images) > BATCH_IMAGES
    processed = process_guarded(guarded, images)
    faults = {number: fault.status for number, fault in processed.faults.items()}
    faulty = {images.index(content): content for content in (b"crash", b"sleep", b"raise")}
    assert faults == {
        number: Status.TIMED_OUT if content == b"sleep" else Status.CRASHED
        for number, content in faulty.items()
    }
    rows = pa.concat_tables(processed.tables).sort_by("image")
    assert rows["image"].to_pylist() == [n for n in range(len(images)) if n not in faulty]
    alone = [guarded([images[number]]) for number in rows["image"].to_pylist()]
    assert rows.drop_columns(["image"]).equals(
        pa.concat_tables([table for table in alone if isinstance(table, pa.Table)]).drop_columns(
            ["image"]
        )
    )
    guarded.close()


def test_time_limit_is_per_image() -> None:
    guarded = Guard(pickle.dumps(Slow(FAST, seconds=0.4 * patience(1))), patience(1))
    processed = process_guarded(guarded, [b"no image"] * 4)
    guarded.close()
    assert not processed.faults


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel reports no waits")
def test_waiting_for_a_cpu_does_not_count() -> None:
    guarded = Guard(pickle.dumps(Busy(FAST, seconds=0.8)), 2)
    assert isinstance(guarded([b"no image"]), pa.Table)  # the child is up
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
             for _ in range(6 * (os.cpu_count() or 1))]  # fmt: skip
    try:
        started = time.monotonic()
        rows = guarded([b"no image"])
        waited = time.monotonic() - started
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
        guarded.close()
    assert waited > 2
    assert isinstance(rows, pa.Table)


def test_exception_and_killed_child_cost_one_image(faces: list[Path]) -> None:
    guarded, others = guard(60), set(psutil.Process().children())
    fault = guarded([b"raise"])
    assert isinstance(fault, Fault)
    assert fault.error == "ArithmeticError: an unforeseen case"
    [child] = set(psutil.Process().children()) - others
    child.kill()
    processed = process_guarded(guarded, [faces[0].read_bytes()])  # tried again, in a new child
    assert processed.tables[0]["status"].to_pylist() == ["ok"]
    guarded.close()


def test_child_killed_at_start_is_restarted(faces: list[Path], tmp_path: Path) -> None:
    guarded = Guard(
        pickle.dumps(DiesAtStart(FAST, starts=tmp_path / "starts", times=STARTS - 1)), 60
    )
    rows = guarded([faces[0].read_bytes()])
    guarded.close()
    assert isinstance(rows, pa.Table)
    assert rows["status"].to_pylist() == ["ok"]


def test_child_that_never_starts_raises(tmp_path: Path) -> None:
    guarded = Guard(pickle.dumps(DiesAtStart(FAST, starts=tmp_path / "starts", times=99)), 60)
    with pytest.raises(UserError, match="died of SIGKILL before it was ready, 3 times"):
        guarded([b""])
    assert len((tmp_path / "starts").read_text().splitlines()) == STARTS


def test_missing_model_raises(tmp_path: Path) -> None:
    landmarks = FAST.landmarks.model_copy(update={"file": str(tmp_path / "none.dat")})
    lacking = ExtractSettings(landmarks=landmarks)
    with pytest.raises(UserError, match=r"model file .* does not exist"):
        Guard(pickle.dumps(Poisoned(lacking)), 60)([b""])


def test_node_with_other_versions_is_rejected() -> None:
    recipe = build_store_recipe(Settings(extract=FAST))
    Guard(pickle.dumps(SweepSteps(FAST, recipe=recipe)), 60)([b""])
    numpy = recipe.content["libraries"]["numpy"]
    changes = {
        "libraries": {**recipe.content["libraries"], "numpy": "0.1", "pillow": "0.2"},
        "models": {"landmarks": "0" * 64},
    }
    steps = SweepSteps(FAST, recipe=StoreRecipe("", {**recipe.content, **changes}))
    with pytest.raises(UserError) as raised:
        Guard(pickle.dumps(steps), 60)([b""])
    for said in (
        f"numpy is {numpy}, expected 0.1",
        "pillow is",
        "landmark model",
        "expected 000000",
    ):
        assert said in str(raised.value)
    assert "opencv" not in str(raised.value)


def test_crashing_and_endless_files_cost_only_themselves(
    swept: Swept, source: Path, store: Path, faces: list[Path]
) -> None:
    for suffix in (b"crash", b"sleep"):
        (source / f"{suffix.decode()}.png").write_bytes(faces[0].read_bytes() + suffix)
    execution = Execution(executor="in-process", image_seconds=1.5)
    manifest = swept(steps=Poisoned(FAST), execution=execution)
    statuses = {row["path"]: row["status"] for row in rows(store, "images")}
    assert (statuses["crash.png"], statuses["sleep.png"]) == ("crashed", "timed_out")
    assert manifest["statuses"]["ok"] == 5
    assert sum(manifest["statuses"].values()) == 9
    assert swept(steps=Poisoned(FAST), execution=execution)["described"] == 0
    retried = swept(retry="all")
    assert retried["statuses"] == {"no_face": 1, "ok": 7, "unreadable": 1}
