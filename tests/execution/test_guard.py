"""Child processes that start before their work is known."""

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from fer_ray.execution.guard import (
    Guard,
    borrow_guard,
    start_ahead,
    stop_ahead,
    trim_idle_guards,
)
from fer_ray.features.image_steps import ImageSteps
from fer_ray.settings.extraction import ExtractSettings
from tests.patience import patience


@dataclass(frozen=True)
class Environment:
    """A description of images: the process, and the value of an environment variable."""

    variable: str

    def __call__(self, images: list[Path], enter: object) -> pa.Table:
        return pa.table({"pid": [os.getpid()], "value": [os.environ[self.variable]]})


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_a_guard_uses_the_child_that_started_ahead(tmp_path: Path) -> None:
    others = children()
    start_ahead()
    ahead = children() - others
    (tmp_path / "broken.png").write_bytes(b"no image")
    guard = Guard(pickle.dumps(ImageSteps(ExtractSettings())), 60)
    rows = guard([tmp_path / "broken.png"])
    assert isinstance(rows, pa.Table)
    assert rows["status"].to_pylist() == ["unreadable"]
    assert children() - others == ahead
    assert len(ahead) == 1
    guard.close()
    assert children() == others


def test_an_unused_child_ends(tmp_path: Path) -> None:
    others = children()
    start_ahead()
    assert len(children() - others) == 1
    stop_ahead()
    assert children() == others
    code = (
        "from fer_ray.execution import guard; import psutil\n"
        "guard.start_ahead(); print(psutil.Process().children()[0].pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    if psutil.pid_exists(int(done.stdout)):  # it ends once it has imported its modules
        psutil.Process(int(done.stdout)).wait(timeout=patience(20))


def test_the_last_guard_is_reused_in_the_same_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def child_of_a_use() -> tuple[int, str]:
        with borrow_guard(pickle.dumps(Environment("AWS_PROFILE")), 60) as guard:
            rows = guard([tmp_path])
        assert isinstance(rows, pa.Table)
        return rows["pid"][0].as_py(), rows["value"][0].as_py()

    monkeypatch.setenv("AWS_PROFILE", "one")
    first = child_of_a_use()
    assert child_of_a_use() == first
    monkeypatch.setenv("AWS_PROFILE", "other")
    pid, value = child_of_a_use()
    assert (pid != first[0], value) == (True, "other")
    assert not psutil.pid_exists(first[0])
    guard = borrow_guard(pickle.dumps(Environment("AWS_PROFILE")), 60)
    with pytest.raises(ArithmeticError), guard:
        raise ArithmeticError
    assert not psutil.pid_exists(pid)


def test_guards_of_several_threads_are_reused() -> None:
    with borrow_guard(b"one", 60) as first, borrow_guard(b"one", 60) as second:
        assert first is not second
    with borrow_guard(b"one", 60) as again, borrow_guard(b"one", 60) as other:
        assert {id(again), id(other)} == {id(first), id(second)}
    trim_idle_guards()
    with borrow_guard(b"one", 60) as left, borrow_guard(b"one", 60) as new:
        assert left in (first, second)
        assert new not in (first, second)
    with borrow_guard(b"two", 60) as changed:
        assert changed not in (left, new)
