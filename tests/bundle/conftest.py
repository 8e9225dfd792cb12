import shutil
from pathlib import Path

import pytest


@pytest.fixture
def bundle(kept_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to tamper with."""
    return Path(shutil.copytree(kept_bundle, tmp_path / "model"))
