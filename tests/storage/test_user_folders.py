"""Users without a home folder, or with a read-only one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_ray.storage.user_folders import cache_path
from tests.patience import patience

# As an unknown user id in a container: Python finds no home folder without HOME.
WITHOUT_HOME = """
import os, pwd, sys
def unknown(uid): raise KeyError(uid)
pwd.getpwuid = unknown
from fer_ray.cli.main import main
from fer_ray.storage.user_folders import home_folder
assert home_folder() is None
main(["models"])
"""


def test_unknown_user_gets_a_home_in_the_temporary_folder(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HOME], env={**env, "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=patience(60), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / f"fer-ray-{os.getuid()}"
    assert f"downloads are stored in {folder}. Set HOME" in done.stderr
    assert folder.stat().st_mode & 0o077 == 0


def test_matplotlib_is_silent_about_its_folders() -> None:
    code = (
        "from fer_ray.cli.main import main; main(['models'])\n"
        "import matplotlib; matplotlib.get_configdir()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "MPLCONFIGDIR": "/dev/null/none"},
        capture_output=True, text=True, timeout=patience(60), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_missing_temporary_folder_names_the_variable(tmp_path: Path) -> None:
    code = (
        "import tempfile; tempfile._candidate_tempdir_list = lambda: []\n"
        "from fer_ray.cli.main import main; main(['models'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=patience(60),
        check=False,
    )  # fmt: skip
    assert (done.returncode, "Set TMPDIR to" in done.stderr) == (2, True), done.stderr


def test_cache_of_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/dev/null")  # of system users
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    written = cache_path("XDG_CACHE_HOME", ".cache", "fer_ray", "models", "a.task")
    assert not written.is_relative_to("/dev")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_path("XDG_CACHE_HOME", ".cache", "a.task") == tmp_path / "a.task"
