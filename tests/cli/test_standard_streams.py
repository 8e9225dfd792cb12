"""Standard streams that are closed, broken, full or limited to ASCII."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.patience import patience


def shell(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `fer-ray` is this one; the exit code is that of `fer-ray`."""
    function = f'fer-ray() {{ "{sys.executable}" -m fer_ray "$@"; }}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{function}; {line}"],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=patience(120),
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "env"),
    [
        ("fer-ray models >&- 2>&- <&-", {}),
        ("fer-ray models | true", {}),
        ("fer-ray models", {"PYTHONIOENCODING": "ascii"}),
        ("fer-ray models", {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}),
    ],
)
def test_output_that_is_lost_is_no_error(line: str, env: dict[str, str]) -> None:
    done = shell(line, **env)
    assert (done.returncode, done.stderr) == (0, "")


def test_full_disk_is_an_error() -> None:
    done = shell("fer-ray models > /dev/full")
    assert done.returncode == 1
    assert "fer-ray: Cannot write to standard output: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr


def test_messages_are_not_written_into_results(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((40, 40), np.uint8))
    out = tmp_path / "run"
    done = shell(f"fer-ray extract --data {tmp_path}/images --out {out} <&- >&- 2>&-")
    assert done.returncode == 0
    assert (out / ".lock").read_text().startswith("{")
    assert (out / ".lock").read_text().endswith("}")
    assert (out / "extract.json").is_file()
