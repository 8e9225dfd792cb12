import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.execution.progress import silent
from fer_ray.models.bundles.backbone_features import WeightOverrides
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.networks.bottleneck.bottleneck_plan import plan_bottleneck
from fer_ray.networks.describe_network import describe_network
from fer_ray.pipelines.audit.verify import verify_store
from fer_ray.pipelines.extraction.bottleneck import run_bottleneck
from fer_ray.pipelines.prediction.predict import run_predict
from fer_ray.pipelines.sweep import run_sweep
from fer_ray.pipelines.sweeps.context import SweepRequest
from fer_ray.pipelines.training.make_bundle import make_bundle
from fer_ray.pipelines.training.trials import run_trials
from fer_ray.settings.backbones import BackboneSpec, backbone_spec
from fer_ray.settings.network_interface import NetworkInterface
from fer_ray.settings.root import Execution, Settings
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.run_folder import frames_record
from fer_ray.vocabulary import ABSTAINED
from tests.networks.file_networks import write_onnx
from tests.pipelines.sweeps.conftest import rows


@pytest.mark.slow
def test_sweep_with_model(
    local_ray: int, run_dir: Path, source: Path, store: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    make_bundle(run_dir, bundle)
    manifest = run_sweep(SweepRequest(str(source), str(store), Settings(), silent, model=bundle))
    predictor = Predictor(bundle)
    assert manifest["recipe_content"]["bundle"] == predictor.sha256
    processed = [row for row in rows(store, "results") if row["landmarks_xy"]]
    assert processed
    for row in processed:
        assert row["predicted"] in predictor.labels
        assert row["bundle_sha256"] == predictor.sha256
        assert sum(row[f"p_{name}"] for name in predictor.labels) == pytest.approx(1)
    unseen = [row for row in rows(store, "results") if not row["landmarks_xy"]]
    assert {row["predicted"] for row in unseen} == {None}
    assert sum(manifest["classes"].values()) == manifest["outcomes"]["ok"] == 4  # contents
    answers = {"abstained", "unusual face", "classes per set"}
    names = {drift["name"] for drift in manifest["drift"]}
    assert names == {"face found", *answers, *manifest["classes"]}
    assert manifest["answers"]["faces"] == 4
    assert all(row["answer"] in {row["predicted"], ABSTAINED} for row in processed)
    assert verify_store(str(store), sample=10, seed=0, model=bundle)["same"] == 7
    again = run_sweep(SweepRequest(str(source), str(store), Settings(), silent))
    assert again["planned"].keys() == {"recipe"}  # another recipe without the model


Bundled = Callable[[BackboneSpec | str, str | None], Path]


@pytest.fixture
def bundled(run_dir: Path, corpus: Path, local_ray: int, tmp_path: Path) -> Bundled:
    """Creates a bundle of an SVM on a backbone's features, with default or given weights."""

    def make(spec: BackboneSpec | str, weights: str | None = None) -> Path:
        run, execution = tmp_path / "deep", Execution(workers=2, executor="ray")
        backbone = backbone_spec(spec).name
        shutil.copytree(run_dir, run)
        planned = plan_bottleneck(frames_record(run), spec, weights)
        run_bottleneck(run, corpus, planned, execution, silent)
        trials = TrialSettings(
            feature_set=backbone, kernels=("linear",), scale="standard", n_trials=2
        )
        run_trials(run, trials, execution, silent)
        target = tmp_path / "model"
        make_bundle(run, target, f"svm-linear-{backbone}-random-n_trials=2-scale=standard")
        return target

    return make


def answers_are_those_of_predict(
    bundle: Path, source: Path, store: Path, out: Path, weights: WeightOverrides = (),
    settings: Settings | None = None,
) -> None:  # fmt: skip
    """Sweep and predict `source`, and compare the predictions bit for bit."""
    settings = settings or Settings()
    manifest = run_sweep(SweepRequest(str(source), str(store), settings, silent, bundle, weights))
    assert manifest["statuses"] == {"no_face": 1, "ok": 5, "unreadable": 1}, manifest["errors"]
    out.mkdir()
    run_predict(bundle, [source], out, Execution(workers=2), silent, weights=weights)
    columns = ["sha256", "predicted", *(f"p_{name}" for name in Predictor(bundle).labels)]
    predicted = pq.read_table(out / "predictions", columns=columns).to_pylist()
    by_content = {row["sha256"]: row for row in predicted if row["predicted"]}
    swept = [row for row in rows(store, "results") if row["predicted"]]
    assert len(swept) == len(by_content) == 4
    for row in swept:
        assert {name: row[name] for name in columns} == by_content[row["sha256"]]
    verification = verify_store(str(store), sample=10, seed=0, model=bundle, weights=weights)
    assert (verification["same"], verification["recipe_here"]) == (7, True)


@pytest.mark.slow
@pytest.mark.thorough
def test_backbone_model_equals_predict(
    bundled: Bundled, source: Path, store: Path, tmp_path: Path
) -> None:
    bundle = bundled("dlib_resnet", None)
    answers_are_those_of_predict(bundle, source, store, tmp_path / "out")
    with pytest.raises(UserError, match="has no backbone vgg16"):
        run_sweep(
            SweepRequest(str(source), str(store), Settings(), silent, bundle, (("vgg16", "file"),))
        )


@pytest.mark.slow
@pytest.mark.thorough
def test_own_network_on_ray(bundled: Bundled, source: Path, store: Path, tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "mine.onnx", ("maps",))
    bundle = bundled(describe_network("mine", str(file), NetworkInterface()), str(file))
    weights, on_ray = (("mine", str(file)),), Settings(execution=Execution(executor="ray"))
    with pytest.raises(UserError, match="Pass their file with --weights mine=FILE"):
        run_sweep(SweepRequest(str(source), str(store), on_ray, silent, bundle))
    answers_are_those_of_predict(bundle, source, store, tmp_path / "out", weights, on_ray)


@pytest.mark.slow
@pytest.mark.thorough
def test_keras_backbone_with_own_weights(
    bundled: Bundled, source: Path, store: Path, tmp_path: Path
) -> None:
    from tests.networks.conftest import built, write_as_published

    file = tmp_path / "own.h5"
    write_as_published(built("mobilenet"), file, trained=True)
    bundle = bundled("mobilenet", str(file))
    weights = (("mobilenet", str(file)),)
    answers_are_those_of_predict(bundle, source, store, tmp_path / "out", weights)
    content = run_sweep(SweepRequest(str(source), str(store), Settings(), silent, bundle, weights))
    recipe = content["recipe_content"]
    assert recipe["backbones"].keys() == {"mobilenet"}
    assert "keras" in recipe["libraries"]
    assert content["planned"].keys() == {"same"}
