import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.execution.progress import silent
from fer_ray.models.bundles.backbone_features import Asked
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.networks.bottleneck_plan import plan_bottleneck
from fer_ray.pipelines.bottleneck import run_bottleneck
from fer_ray.pipelines.make_bundle import make_bundle
from fer_ray.pipelines.predict import run_predict
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.trials import run_trials
from fer_ray.pipelines.verify import verify_store
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.run_folder import frames_record
from tests.pipelines.sweeps.conftest import rows


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
    assert sum(told["classes"].values()) == told["outcomes"]["ok"] == 4  # contents
    assert {one["name"] for one in told["drift"]} == {"face found", *told["classes"]}
    assert verify_store(str(store), sample=10, seed=0, model=bundle)["same"] == 7
    again = run_sweep(str(source), str(store), Settings(), silent)
    assert again["planned"].keys() == {"recipe"}  # without the model: another recipe


Bundled = Callable[[str, str | None], Path]


@pytest.fixture
def bundled(run_dir: Path, corpus: Path, local_ray: int, tmp_path: Path) -> Bundled:
    """Makes a bundle of an SVM on a backbone's features, by weights of that file or its own."""

    def made(backbone: str, weights: str | None = None) -> Path:
        run, execution = tmp_path / "deep", Execution(workers=2)
        shutil.copytree(run_dir, run)
        planned = plan_bottleneck(frames_record(run), backbone, weights)
        run_bottleneck(run, corpus, planned, execution, silent)
        trials = TrialSettings(
            feature_set=backbone, kernels=("linear",), scale="standard", n_trials=2
        )
        run_trials(run, trials, execution, silent)
        target = tmp_path / "model"
        make_bundle(run, target, f"svm-linear-{backbone}-random-n_trials=2-scale=standard")
        return target

    return made


def answers_are_those_of_predict(
    bundle: Path, source: Path, store: Path, out: Path, weights: Asked = ()
) -> None:
    """Sweeps `source` and predicts it, and holds the answers against each other, bit for bit."""
    told = run_sweep(str(source), str(store), Settings(), silent, bundle, weights)
    assert told["statuses"] == {"no_face": 1, "ok": 5, "unreadable": 1}, told["errors"]
    out.mkdir()
    run_predict(bundle, [source], out, Execution(workers=2), silent, weights=weights)
    columns = ["sha256", "predicted", *(f"p_{name}" for name in Predictor(bundle).labels)]
    predicted = pq.read_table(out / "predictions", columns=columns).to_pylist()
    by_content = {row["sha256"]: row for row in predicted if row["predicted"]}
    swept = [row for row in rows(store, "results") if row["predicted"]]
    assert len(swept) == len(by_content) == 4
    for row in swept:
        assert {name: row[name] for name in columns} == by_content[row["sha256"]]
    found = verify_store(str(store), sample=10, seed=0, model=bundle, weights=weights)
    assert (found["same"], found["recipe_here"]) == (7, True)


@pytest.mark.slow
@pytest.mark.thorough
def test_a_model_on_a_backbones_features_answers_as_predict_does(
    bundled: Bundled, source: Path, store: Path, tmp_path: Path
) -> None:
    bundle = bundled("dlib_resnet", None)
    answers_are_those_of_predict(bundle, source, store, tmp_path / "out")
    with pytest.raises(UserError, match="has no backbone vgg16"):
        run_sweep(str(source), str(store), Settings(), silent, bundle, (("vgg16", "file"),))


@pytest.mark.slow
@pytest.mark.thorough
def test_a_backbone_of_keras_answers_by_the_weights_that_are_named(
    bundled: Bundled, source: Path, store: Path, tmp_path: Path
) -> None:
    from tests.networks.conftest import built, write_as_published

    file = tmp_path / "own.h5"
    write_as_published(built("mobilenet"), file, trained=True)
    bundle = bundled("mobilenet", str(file))
    weights = (("mobilenet", str(file)),)
    answers_are_those_of_predict(bundle, source, store, tmp_path / "out", weights)
    content = run_sweep(str(source), str(store), Settings(), silent, bundle, weights)
    recipe = content["recipe_content"]
    assert recipe["backbones"].keys() == {"mobilenet"}
    assert "keras" in recipe["libraries"]
    assert content["planned"].keys() == {"same"}
