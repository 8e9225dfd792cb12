"""How a sweep stops."""

import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from fer_ray.errors import StoppedError
from fer_ray.execution.guard import Guard
from fer_ray.execution.progress import Advance
from fer_ray.execution.tasks import block_tasks
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import StopFlag, SweepRequest
from fer_ray.settings.root import Execution, Settings
from tests.pipelines.sweeps.conftest import FAST
from tests.pipelines.sweeps.poison import Poisoned


def test_stop_commits_before_waiting_for_tasks(
    local_ray: int, source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "slow.png").write_bytes((source / "noise.png").read_bytes() + b"sleep")
    stop, committed = StopFlag(), []

    @contextmanager
    def stopping(name: str, unit: str, total: int) -> Iterator[Advance]:
        yield lambda *_: stop.set() if name == "process" else None

    def finished(pending: dict[Any, Any]) -> Iterator[Any]:
        committed.append(DeltaTable(str(store / "results")).count())
        return iter(())

    monkeypatch.setattr(block_tasks, "_finish", finished)
    settings = Settings(extract=FAST, execution=Execution(block_images=1, executor="ray"))
    with pytest.raises(StoppedError, match="are committed"):
        run_sweep(
            SweepRequest(
                str(source), str(store), settings, stopping, steps=Poisoned(FAST), stop=stop
            )
        )
    assert committed[0] >= 1


def test_guard_after_interrupt(faces: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(pickle.dumps(Poisoned(FAST)), 60)
    content = faces[0].read_bytes()
    rows = guard([content])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            guard([b"sleep"])
        assert guard([content]).equals(rows)
    finally:
        signal.signal(signal.SIGALRM, before)
        guard.close()
