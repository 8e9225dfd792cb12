import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_ray.learn.summary import summarise
from fer_ray.report.run_folder import Experiment
from tests.learn.conftest import draw_frames


@pytest.fixture
def bundle(kept_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to tamper with."""
    return Path(shutil.copytree(kept_bundle, tmp_path / "model"))


@pytest.fixture
def drawn_frames(tmp_path: Path) -> Path:
    """A run folder whose features are drawn numbers."""
    return draw_frames(tmp_path / "run")


def experiment_of(out: Path, name: str) -> Experiment:
    """An experiment of a run folder whose images are each of a subject of their own."""
    rows, answers = (
        pq.read_table(out / part / f"{name}.parquet").to_pandas()
        for part in ("trials", "predictions")
    )
    answers["subject"] = answers["image_id"]
    return Experiment(rows, answers, summarise(rows, answers))
