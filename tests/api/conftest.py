from pathlib import Path

import pytest

from fer_ray.execution.guard import stop_ahead
from tests.workplace import prepare_workplace


@pytest.fixture
def workplace(
    corpus: Path, run_dir: Path, kept_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working directory with images, a run folder and a model, as in the examples."""
    prepare_workplace(tmp_path, corpus, run_dir, kept_bundle)
    monkeypatch.chdir(tmp_path)
    stop_ahead()  # a child process that another test left has that test's working directory
    return tmp_path
