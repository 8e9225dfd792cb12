import hashlib
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from pyarrow import fs

from fer_ray.execution.progress import silent
from fer_ray.execution.tasks import claims
from fer_ray.execution.tasks.claims import Claims, start_claims
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.pipelines.sweeps.sweep_steps import SweepSteps
from fer_ray.settings.root import Execution, Settings
from fer_ray.sources.streams.image_source import Source
from tests.patience import wait_until
from tests.pipelines.sweeps.blocks import process_block
from tests.pipelines.sweeps.conftest import FAST, tiny_image

ONE, TWO, KNOWN = (hashlib.sha256(name).hexdigest() for name in (b"1", b"2", b"3"))
KEYS = np.sort(np.array([int(KNOWN[:16], 16), 0, 2**64 - 1], np.uint64))


def load(index: int, count: int) -> "np.typing.NDArray[np.uint64]":
    return KEYS


def test_first_block_claims_new_content() -> None:
    table = Claims(KEYS)
    assert table.claim("a", [ONE, KNOWN]) == {ONE}
    assert table.claim("b", [ONE]) == set()
    assert table.claim("a", [ONE]) == {ONE}  # its worker was lost in the meantime
    assert table.claim("b", [ONE, TWO]) == {TWO}
    assert table.claim("a", [KNOWN, "f" * 64]) == set()
    assert Claims(KEYS[:0]).claim("a", [KNOWN]) == {KNOWN}


def test_claims_beyond_the_limit_are_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "MAX_CONTENTS", 1)
    table = Claims(KEYS)
    assert table.claim("a", [ONE]) == {ONE}
    assert table.claim("a", [TWO]) == set()
    assert table.claim("a", [ONE]) == {ONE}


def test_new_image_is_read_once(source: Path, tmp_path: Path) -> None:
    reads: list[str] = []

    class Counting(Source):
        def read(self, path: str, most: int | None = None) -> bytes:
            reads.append(path)
            return super().read(path, most)

    paths = ["day0/face0.png", "day1/twin.png", "noise.png"]
    counting = Counting(str(source), fs.LocalFileSystem(), str(source))
    processed = process_block(
        counting, tmp_path, paths, claim=Claims(KEYS).claim, steps=SweepSteps(FAST)
    )
    assert reads == paths
    assert len({row["sha256"] for row in processed.readings}) == 2
    statuses = [row["status"] for row in processed.results]
    assert statuses == ["ok", "no_face"]  # the copy is processed once
    assert processed.result.statuses == {"ok": 1, "no_face": 1}


def test_claims_of_several_actors(local_ray: int) -> None:
    contents = [hashlib.sha256(bytes([number])).hexdigest() for number in range(50)]
    actors = start_claims(load, contents=2 * claims.MAX_CONTENTS)
    assert len(actors.actors) == 3
    assert actors("a", contents[:30]) == set(contents[:30])
    assert actors("b", contents) == set(contents[30:])
    actors.stop()


def test_lost_claims_actor_denies_claims(local_ray: int) -> None:
    actors = start_claims(load, contents=1)
    assert actors("a", [ONE]) == {ONE}
    assert actors("b", [ONE]) == set()
    actors.stop()
    wait_until(lambda: not actors("a", [TWO]))  # it is gone a moment later


@pytest.mark.slow
def test_claims_do_not_release_cpus(local_ray: int, tmp_path: Path) -> None:
    for number in range(60):
        tiny_image(tmp_path / "source" / f"{number}.png", seed=number)
    own, most, done = guarded(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.1):
            most = max(most, len(guarded() - own))

    watcher = threading.Thread(target=watch)
    watcher.start()
    # A time limit unlike that of other tests, whose child processes still run.
    execution = Execution(workers=local_ray, image_seconds=59)
    settings = Settings(extract=FAST, execution=execution)
    run_sweep(SweepRequest(str(tmp_path / "source"), str(tmp_path / "store"), settings, silent))
    done.set()
    watcher.join()
    assert 1 <= most <= local_ray


def guarded() -> set[int]:
    """Child processes that process images for this process or its workers."""
    return {
        process.pid for process in psutil.Process().children(recursive=True) if is_guarded(process)
    }


def is_guarded(process: psutil.Process) -> bool:
    try:
        return "fer_ray.execution.guard_process" in process.cmdline()
    except psutil.Error:
        return False
