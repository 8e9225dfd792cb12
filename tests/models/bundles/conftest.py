import shutil
from pathlib import Path

import pytest

from tests.evaluation.conftest import draw_frames


@pytest.fixture
def bundle(kept_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to tamper with."""
    return Path(shutil.copytree(kept_bundle, tmp_path / "model"))


@pytest.fixture
def drawn_frames(tmp_path: Path) -> Path:
    """A run folder with random features."""
    return draw_frames(tmp_path / "run")
