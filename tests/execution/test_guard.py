"""Child processes that start before their work is known."""

import pickle
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow as pa

from fer_ray.execution.guard import Guard, start_ahead, stop_ahead
from fer_ray.features.image_steps import ImageSteps
from fer_ray.settings.extraction import ExtractSettings
from tests.patience import patience


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
