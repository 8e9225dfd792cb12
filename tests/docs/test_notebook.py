"""The notebook of the tutorial runs in a new kernel, and shows progress."""

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import REPO
from tests.patience import patience

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook with its outputs, executed in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = nbformat.read(REPO / "docs" / "tutorial.ipynb", as_version=4)
    client = NotebookClient(
        cells,
        timeout=int(patience(240)),
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute(env={**os.environ, "IPYTHONDIR": str(folder / "ipython")})


def outputs(notebook: Any, code: str) -> list[Any]:
    """The outputs of the cell that begins with some code."""
    [cell] = [one for one in notebook.cells if one.source.startswith(code)]
    return list(cell.outputs)


@pytest.mark.thorough
def test_notebook_runs(notebook: Any) -> None:
    assert Path(outputs(notebook, "run.report")[0]["data"]["text/plain"].strip("')")).name
    table = outputs(notebook, "step =")[-1]["data"]["text/plain"]
    assert table.count("new-people") == 6
    assert [
        one for cell in notebook.cells for one in cell.get("outputs", []) if "stderr" in one
    ] == []


@pytest.mark.thorough
def test_jobs_show_their_progress(notebook: Any) -> None:
    shown = [one["data"]["text/plain"] for one in outputs(notebook, "run = fr.run")]
    assert any(text.startswith("extract: ") and " images, " in text for text in shown)
    assert any(text.startswith("trials: 20/20 trials") for text in shown)


def test_notebook_is_stored_without_outputs() -> None:
    stored = nbformat.read(REPO / "docs" / "tutorial.ipynb", as_version=4)
    assert [cell.source for cell in stored.cells if cell.get("outputs")] == []
