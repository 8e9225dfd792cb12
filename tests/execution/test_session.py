"""Ray on this machine: the environment of its workers, what it leaves, and errors of its start."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private import services

from fer_ray.execution.cluster.local_session import longer_start_limit, start_error_message
from tests.patience import patience

PROGRAM = """
import os
from fer_ray.execution.cluster.session import ensure_ray, ray_closed_after
from fer_ray.settings.root import Execution

with ray_closed_after():
    ensure_ray(Execution(workers=1))
    import ray
    found = ray.get(ray.remote(lambda: dict(os.environ)).remote())
print(found["MPLBACKEND"], "OPENCV_IO_MAX_IMAGE_PIXELS" in found, found["OMP_NUM_THREADS"])
print(os.environ["MPLBACKEND"])
"""
HOSTILE = {
    "MPLBACKEND": "module://none", "OPENCV_IO_MAX_IMAGE_PIXELS": "1", "OMP_NUM_THREADS": "3"
}  # fmt: skip


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fr-", dir="/tmp") as folder:  # socket paths are short
        yield Path(folder)


def run(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "RAY_TMPDIR": str(folder), **env},
        capture_output=True,
        text=True,
        timeout=patience(120),
        check=False,
    )


@pytest.mark.slow
def test_session_is_removed_and_the_environment_of_workers_is_fixed(short_folder: Path) -> None:
    done = run(short_folder, **HOSTILE)
    assert done.stdout == "agg False 1\nmodule://none\n", done.stderr
    assert [path for path in short_folder.rglob("*") if path.is_file() or path.is_symlink()] == []


def test_long_temporary_folder_has_a_remedy(short_folder: Path) -> None:
    done = run(short_folder / ("x" * 90))
    assert "Set RAY_TMPDIR to a folder with a short path" in done.stderr


def test_timeout_of_the_start_has_advice() -> None:
    message = start_error_message(Exception("The current node timed out during startup"))
    assert "timed out during startup\nThe machine may be busy" in message


def test_start_waits_while_the_raylet_is_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([RuntimeError("not registered"), RuntimeError("not registered"), {"labels": {}}])

    def get_node(*_: str) -> object:
        answer = next(answers, RuntimeError("it has ended"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(
        "fer_ray.execution.cluster.local_session.START_S", 3
    )  # a raylet may be running
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / "raylet")
    raylet = subprocess.Popen([program, "60"])
    with longer_start_limit():
        assert services.get_node("address", "id") == {"labels": {}}
        raylet.kill()
        raylet.wait()
        with pytest.raises(RuntimeError, match="it has ended"):
            services.get_node("address", "id")
    assert services.get_node is get_node
