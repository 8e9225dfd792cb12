from pathlib import Path

import pytest

from fer_ray.bundle.making import make_bundle
from fer_ray.bundle.predictor import Predictor
from fer_ray.config import Settings
from fer_ray.progress import silent
from fer_ray.sweep.run import run_sweep
from fer_ray.sweep.verify import verify_store
from tests.sweep.conftest import rows


@pytest.mark.slow
def test_a_models_answers_come_in_the_same_pass(
    local_ray: int, run_dir: Path, source: Path, store: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    make_bundle(run_dir, bundle)
    told = run_sweep(str(source), str(store), Settings(), silent, model=bundle)
    predictor = Predictor(bundle)
    assert told["recipe_content"]["bundle"] == predictor.sha256
    described = [row for row in rows(store, "results") if row["landmarks_xy"]]
    assert described
    for row in described:
        assert row["predicted"] in predictor.labels
        assert row["bundle_sha256"] == predictor.sha256
        assert sum(row[f"p_{name}"] for name in predictor.labels) == pytest.approx(1)
    unseen = [row for row in rows(store, "results") if not row["landmarks_xy"]]
    assert {row["predicted"] for row in unseen} == {None}
    assert sum(told["classes"].values()) == sum(row["faces"] for row in rows(store, "images"))
    assert {one["name"] for one in told["drift"]} == {"face found", *told["classes"]}
    assert verify_store(str(store), sample=10, seed=0, model=bundle)["same"] == 7
    again = run_sweep(str(source), str(store), Settings(), silent)
    assert again["planned"].keys() == {"recipe"}  # without the model: another recipe
