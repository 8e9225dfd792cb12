"""The wheel in a new virtual environment, without the repository: commands and the notebook."""

import os
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.conftest import REPO
from tests.packaging.conftest import pip
from tests.patience import patience

pytestmark = [pytest.mark.thorough, pytest.mark.slow, pytest.mark.timeout(1800)]

NEEDED_BYTES = 8 << 30


@pytest.fixture(scope="module")
def programs(wheel: Path) -> Iterator[Path]:
    """The `bin` folder of an environment with the wheel, what it requires, and a Jupyter kernel."""
    with tempfile.TemporaryDirectory(prefix="fer-ray-") as folder:
        if shutil.disk_usage(folder).free < NEEDED_BYTES:
            pytest.skip(f"needs {NEEDED_BYTES >> 30} GiB of disk")
        venv.create(folder, with_pip=True)
        programs = Path(folder, "bin")
        constraints = REPO / "constraints.txt"
        pip(programs / "python", "install", "-c", constraints, wheel, "ipykernel")
        subprocess.run(
            [programs / "python", "-m", "ipykernel", "install", "--prefix", folder], check=True
        )
        yield programs


def clean_environ() -> dict[str, str]:
    """The variables of this process, without those that point to the test environment."""
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST")
    return {name: value for name, value in os.environ.items() if name not in ours}


def test_commands_run(programs: Path, tmp_path: Path) -> None:
    for line in (
        "synth corpus --subjects 6",
        "run --data corpus --out run --profile fast",
        "sweep --source corpus --store store --profile fast",
        "bundle --out run --to model",
        "predict model corpus --out answers",
    ):
        done = subprocess.run(
            [programs / "fer-ray", *line.split()], cwd=tmp_path, env=clean_environ(),
            capture_output=True, text=True, timeout=patience(240),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    assert (tmp_path / "store" / "images").is_dir()


@pytest.fixture(scope="module")
def notebook(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook of the tutorial with its outputs, executed in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    kernels = KernelSpecManager(
        kernel_dirs=[str(programs.parent / "share" / "jupyter" / "kernels")],
        ensure_native_kernel=False,
    )
    client = NotebookClient(
        nbformat.read(REPO / "docs" / "tutorial.ipynb", as_version=4),
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels),
        timeout=int(patience(240)),
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute(env={**clean_environ(), "IPYTHONDIR": str(folder / "ipython")})


def outputs(notebook: Any, code: str) -> list[Any]:
    """The outputs of the cell that begins with some code."""
    [cell] = [one for one in notebook.cells if one.source.startswith(code)]
    return list(cell.outputs)


def test_notebook_runs(notebook: Any) -> None:
    assert Path(outputs(notebook, "run.report")[0]["data"]["text/plain"].strip("')")).name
    table = outputs(notebook, "step =")[-1]["data"]["text/plain"]
    assert table.count("new-people") == 6
    assert [
        one for cell in notebook.cells for one in cell.get("outputs", []) if "stderr" in one
    ] == []


def test_jobs_show_their_progress(notebook: Any) -> None:
    shown = [one["data"]["text/plain"] for one in outputs(notebook, "run = fr.run")]
    assert any(text.startswith("extract: ") and " images, " in text for text in shown)
    assert any(text.startswith("trials: 20/20 trials") for text in shown)
