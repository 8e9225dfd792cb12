import hashlib
import pickle
import threading
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from pyarrow import fs

from fer_ray.execution import claims
from fer_ray.execution.block_tasks import start_claims, stop_claims
from fer_ray.execution.claims import Claims
from fer_ray.execution.progress import silent
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.blocks import Limits, read_block
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.pipelines.sweeps.describe import DescribeImage
from fer_ray.settings.root import Execution, Settings
from fer_ray.sources.streams.image_source import Source
from tests.patience import wait_until
from tests.pipelines.sweeps.conftest import FAST, tiny_image

ONE, TWO, KNOWN = (hashlib.sha256(name).hexdigest() for name in (b"1", b"2", b"3"))
KEYS = np.sort(np.array([int(KNOWN[:16], 16), 0, 2**64 - 1], np.uint64))


def test_first_block_claims_new_content() -> None:
    table = Claims(KEYS)
    assert table.claim("a", ONE)
    assert not table.claim("b", ONE)
    assert table.claim("a", ONE)  # its worker was lost in the meantime
    assert table.claim("b", TWO)
    assert not table.claim("a", KNOWN)
    assert not table.claim("a", "f" * 64)


def test_claims_beyond_the_limit_are_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Claims(None).claim("a", ONE)
    monkeypatch.setattr(claims, "MOST_CLAIMED", 1)
    table = Claims(KEYS)
    assert table.claim("a", ONE)
    assert not table.claim("a", TWO)
    assert table.claim("a", ONE)


def test_new_image_is_read_once(source: Path) -> None:
    reads: list[str] = []

    class Counting(Source):
        def read(self, path: str, most: int | None = None) -> bytes:
            reads.append(path)
            return super().read(path, most)

    paths = ["day0/face0.png", "day1/twin.png", "noise.png"]
    block = pa.table({"path": paths, "size": [1] * 3, "mtime_ns": [1] * 3})
    counting = Counting(str(source), fs.LocalFileSystem(), str(source))
    table = Claims(KEYS)
    results, outcomes = read_block(
        block, counting, pickle.dumps(DescribeImage(FAST)), Limits(10**6, 60), table.claim
    )
    assert reads == paths
    assert len(set(outcomes["sha256"].to_pylist())) == 2
    assert results["status"].to_pylist() == ["ok", "no_face"]  # the twin is described once


def test_lost_claims_actor_denies_claims(local_ray: int) -> None:
    claim = start_claims(KEYS)
    assert claim("a", ONE)
    assert not claim("b", ONE)
    stop_claims(claim)
    wait_until(lambda: not claim("a", TWO))  # it is gone a moment later


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
    """Processes that describe images for this process or its workers."""
    return {
        process.pid for process in psutil.Process().children(recursive=True) if is_guarded(process)
    }


def is_guarded(process: psutil.Process) -> bool:
    try:
        return "fer_ray.execution.guard_process" in process.cmdline()
    except psutil.Error:
        return False
