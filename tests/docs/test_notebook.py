"""The notebook of the tutorial; `tests/packaging/test_clean_environment.py` runs it."""

import nbformat

from tests.conftest import REPO


def test_notebook_is_stored_without_outputs() -> None:
    stored = nbformat.read(REPO / "docs" / "tutorial.ipynb", as_version=4)
    assert [cell.source for cell in stored.cells if cell.get("outputs")] == []
