"""The lock of a folder where the operating system has none: object stores and some disks."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fer_ray.errors import UserError
from fer_ray.storage import leases
from fer_ray.storage.locks import lock_folder
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.paths import to_path
from tests.patience import patience

HOLD = (
    "import sys; from fer_ray.storage.locks import lock_folder\n"
    "from fer_ray.storage.paths import to_path\n"
    "if 'no-flock' in sys.argv:\n"
    "    import fcntl\n"
    "    def refuse(*_): raise OSError(38, 'Function not implemented')\n"
    "    fcntl.flock = refuse\n"
    "with lock_folder(to_path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
)


@pytest.fixture(params=["bucket", "disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Path:
    """A folder in a bucket, or on a disk without file locks, as Lustre by default."""
    for name, value in (("RENEW_S", 0.2), ("LEASE_S", 1.5), ("POLL_S", 0.1)):
        monkeypatch.setattr(leases, name, value)
    if request.param == "bucket":
        bucket: ObjectPath = request.getfixturevalue("bucket")
        return bucket / "run"

    without_file_locks(monkeypatch, errno.ENOSYS)
    return tmp_path / "run"


def without_file_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EIO])
def test_disk_without_file_locks_is_not_in_use(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_file_locks(monkeypatch, number)
    with lock_folder(tmp_path / "run"):
        assert (tmp_path / "run" / ".lease").is_file()


@pytest.mark.parametrize("number", [None, errno.ENOSYS])
def test_refused_job_leaves_nothing(
    number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if number:
        without_file_locks(monkeypatch, number)
    with pytest.raises(UserError, match="refused"), lock_folder(tmp_path / "runs" / "a"):
        raise UserError("refused")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "others.txt").touch()
    with pytest.raises(UserError, match="refused"), lock_folder(tmp_path):
        raise UserError("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["others.txt"]


def hold(folder: Path) -> subprocess.Popen[str]:
    """Start a process that has the lock."""
    command = [sys.executable, "-c", HOLD, str(folder), "no-flock"]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def end(process: subprocess.Popen[str], by: signal.Signals) -> None:
    process.send_signal(by)
    process.communicate(timeout=patience(30))


def hide_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to be on another machine, where the holder's process cannot be seen."""
    monkeypatch.setattr(leases, "_place", lambda: "another machine")


def test_second_job_is_refused(folder: Path) -> None:
    holder = hold(folder)
    with (
        pytest.raises(UserError, match=rf"process {holder.pid} on .*, since 20\d\d-"),
        lock_folder(folder),
    ):
        pass
    end(holder, signal.SIGINT)
    with lock_folder(folder):
        pass
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == []


def test_lock_of_a_killed_process_is_free(folder: Path) -> None:
    end(hold(folder), signal.SIGKILL)
    started = time.monotonic()
    with lock_folder(folder):
        assert time.monotonic() - started < leases.LEASE_S


def test_renewed_lock_of_another_machine_is_respected(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock_folder(folder):
        hide_processes(monkeypatch)
        with pytest.raises(UserError, match="Another fer-ray job"), lock_folder(folder):
            pass


def test_expired_lock_of_another_machine_is_taken_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(hold(folder), signal.SIGKILL)
    hide_processes(monkeypatch)
    started = time.monotonic()
    with lock_folder(folder):
        assert time.monotonic() - started >= leases.LEASE_S
        record = json.loads((folder / ".lease").read_bytes())
        assert record["process"] == os.getpid()


def test_suspended_holder_stops_when_it_has_lost_the_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="has taken over"), lock_folder(folder):  # noqa: PT012
        record = json.loads((folder / ".lease").read_bytes())
        (folder / ".lease").write_text(json.dumps({**record, "token": "of another job"}))
        time.sleep(patience(10))
    assert json.loads((folder / ".lease").read_bytes())["token"] == "of another job"


def test_only_one_of_several_takes_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end(hold(folder), signal.SIGKILL)
    file = leases.Lease(folder / ".lease", lambda _: UserError("held"), lambda: None)._file
    _, version = file.read()
    file.replace(b"first", version)
    with pytest.raises(FileExistsError):
        file.replace(b"second", version)


def test_local_disks_show_the_holder(tmp_path: Path) -> None:
    process = hold_with_flock(tmp_path)
    with pytest.raises(UserError, match=f"process {process.pid} on"), lock_folder(tmp_path):
        pass
    end(process, signal.SIGKILL)
    with lock_folder(to_path(tmp_path)):
        assert not (tmp_path / ".lease").exists()


def hold_with_flock(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=-1, stdout=-1, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process
