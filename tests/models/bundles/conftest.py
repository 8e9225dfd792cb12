import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_ray.evaluation.results import ExperimentResults
from fer_ray.evaluation.summary import summarise
from fer_ray.evaluation.trial_store import read_recipe
from tests.evaluation.conftest import draw_frames


@pytest.fixture
def bundle(kept_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to tamper with."""
    return Path(shutil.copytree(kept_bundle, tmp_path / "model"))


@pytest.fixture
def drawn_frames(tmp_path: Path) -> Path:
    """A run folder whose features are drawn numbers."""
    return draw_frames(tmp_path / "run")


def experiment_of(out: Path, name: str) -> ExperimentResults:
    """An experiment of a run folder whose images are each of a subject of their own."""
    rows, answers = (
        pq.read_table(out / part / f"{name}.parquet").to_pandas()
        for part in ("trials", "predictions")
    )
    answers["subject"] = answers["image_id"]
    recipe = read_recipe(out / "trials" / f"{name}.parquet")
    return ExperimentResults(rows, answers, summarise(rows, answers), recipe)
