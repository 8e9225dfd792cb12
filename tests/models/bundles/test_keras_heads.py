import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.evaluation.experiments.samples import read_samples
from fer_ray.execution.progress import silent
from fer_ray.features.bottleneck_features import read_features
from fer_ray.models.bundles.backbone_features import require_weights
from fer_ray.models.bundles.bundle import read_bundle
from fer_ray.models.bundles.fitting import fit_model
from fer_ray.models.bundles.keras_heads import load_head
from fer_ray.networks.bottleneck.bottleneck_plan import plan_bottleneck
from fer_ray.networks.keras_backend import load_keras
from fer_ray.pipelines.extraction.bottleneck import run_bottleneck
from fer_ray.pipelines.prediction.predict import predict
from fer_ray.pipelines.prediction.prediction_plan import plan_prediction
from fer_ray.pipelines.training.heads import run_heads
from fer_ray.pipelines.training.make_bundle import make_bundle
from fer_ray.settings.root import Execution
from fer_ray.settings.training import LEFT_OUT, TrialSettings
from fer_ray.storage.run_folder import frames_record
from fer_ray.vocabulary import EMOTIONS

LEFT = LEFT_OUT["6"]
HEAD = "head-dlib_resnet-random-n_trials=2"


def saved(file: Path, *layers: Any) -> bytes:
    keras = load_keras()
    keras.Sequential([keras.Input((4,)), *layers]).save(file)
    return file.read_bytes()


def test_saved_head_predicts_the_same(tmp_path: Path) -> None:
    layers = load_keras().layers
    scale = layers.Normalization(mean=np.arange(4.0), variance=np.ones(4))
    parts = [scale, layers.Dense(6, activation="relu", kernel_regularizer="l2"),
             layers.Dropout(0.5), layers.Dense(8, activation="softmax")]  # fmt: skip
    model = load_keras().Sequential([load_keras().Input((4,)), *parts])
    model.save(tmp_path / "head.keras")
    head = load_head((tmp_path / "head.keras").read_bytes(), "model.keras", EMOTIONS)
    features = np.random.default_rng(1).normal(size=(5, 4))
    expected = np.asarray(model(features.astype(np.float32), training=False))
    np.testing.assert_allclose(head.probabilities(features), expected, atol=1e-6)
    np.testing.assert_allclose(np.exp(head.scores(features)), expected, atol=1e-6)


def test_head_of_some_emotions(tmp_path: Path) -> None:
    content = saved(tmp_path / "head.keras", load_keras().layers.Dense(8, activation="softmax"))
    labels = ("anger", "happy", "surprise")
    head = load_head(content, "model.keras", labels)
    features = np.random.default_rng(1).normal(size=(40, 4))
    known = [EMOTIONS.index(name) for name in labels]
    all_labels = load_head(content, "model.keras", EMOTIONS).probabilities(features)[:, known]
    found = head.probabilities(features)
    np.testing.assert_allclose(found[:, known], all_labels / all_labels.sum(axis=1, keepdims=True))
    assert not np.delete(found, known, axis=1).any()
    assert np.isneginf(np.delete(head.scores(features), known, axis=1)).all()


@pytest.mark.slow
def test_bundle_of_a_head_of_fewer_classes(drawn_frames: Path) -> None:
    splitting = TrialSettings(n_trials=2, classes="6")
    execution = Execution(executor="in-process")
    card = run_heads(drawn_frames, "reference", "geometry", splitting, execution, silent)
    samples = read_samples(drawn_frames / "frames", "geometry")
    six = tuple(EMOTIONS[code] for code in np.unique(samples.labels) if EMOTIONS[code] not in LEFT)
    assert tuple(card["labels"]) == six
    (item,) = read_experiments(drawn_frames, card["experiment"])
    fitted = fit_model(drawn_frames, item)
    assert fitted.labels == six
    assert set(np.unique(fitted.samples.labels)) == {EMOTIONS.index(name) for name in six}
    probabilities = fitted.model.probabilities(fitted.samples.features)
    assert not probabilities[:, [EMOTIONS.index(name) for name in LEFT]].any()


def test_lambda_layers_are_refused_and_do_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    def touch(values: Any, path: str = str(trace)) -> Any:
        Path(path).touch()
        return values

    content = saved(tmp_path / "head.keras", load_keras().layers.Lambda(touch))
    trace.unlink(missing_ok=True)  # saving the layer has run it
    with pytest.raises(UserError, match=r"Lambda.*Nothing in it was loaded"):
        load_head(content, "model.keras", EMOTIONS)
    assert not trace.exists()


def test_other_layers_and_classes_are_refused(tmp_path: Path) -> None:
    keras = load_keras()
    with pytest.raises(UserError, match="Rescaling"):
        load_head(saved(tmp_path / "a.keras", keras.layers.Rescaling(2.0)), "model.keras", EMOTIONS)
    content = saved(tmp_path / "b.keras", keras.layers.Dense(8))
    buffer = BytesIO()
    with ZipFile(BytesIO(content)) as old, ZipFile(buffer, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "config.json":
                text = text.replace(b'"module": "keras.layers"', b'"module": "os"')
            new.writestr(name, text)
    with pytest.raises(UserError, match=r"os\.Dense"):
        load_head(buffer.getvalue(), "model.keras", EMOTIONS)
    with pytest.raises(UserError, match="is not a Keras file"):
        load_head(b"\x80\x04 a pickle", "model.keras", EMOTIONS)


@pytest.fixture(scope="module")
def head_run(run_dir: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run folder with a head on the face network's features."""
    out = tmp_path_factory.mktemp("heads") / "run"
    shutil.copytree(run_dir, out)
    execution, splitting = Execution(executor="in-process"), TrialSettings(n_trials=2)
    run_bottleneck(
        out, corpus, plan_bottleneck(frames_record(out), "dlib_resnet", None), execution, silent
    )
    card = run_heads(out, "reference", "dlib_resnet", splitting, execution, silent)
    assert card["experiment"] == HEAD
    return out


@pytest.mark.slow
@pytest.mark.thorough
def test_head_predicts_images_like_stored_features(
    head_run: Path, corpus: Path, tmp_path: Path
) -> None:
    predictor = make_bundle(head_run, tmp_path / "model", HEAD)
    manifest = predictor.bundle.manifest
    assert manifest.training.how.startswith("the head of trial ")
    assert manifest.confidence.how.startswith("the heads of all trials")
    assert manifest.confidence.new_people is False  # random trials share subjects
    assert json.loads((tmp_path / "model" / "bundle.json").read_text())["kind"] == "head"
    frames = pq.read_table(head_run / "frames").to_pandas().query("status == 'ok'")[:6]
    images = [corpus / path for path in frames["path"]]
    tables = []
    for block in (1, 4):
        out = tmp_path / f"out-{block}"
        out.mkdir()
        with silent("predict", "images", 0) as advance:
            predict(plan_prediction(tmp_path / "model", images, out), out,
                    Execution(workers=1, block_images=block), advance)  # fmt: skip
        tables.append(pq.read_table(out / "predictions"))
    assert tables[0].equals(tables[1])
    features = read_features(head_run, "dlib_resnet", frames["image_id"].tolist())
    head = load_head((head_run / "heads" / f"{HEAD}.keras").read_bytes(), "kept", EMOTIONS)
    probabilities = manifest.confidence.scaling.probabilities(head.scores(features))
    expected = dict(zip(frames["path"], probabilities, strict=True))
    rows = tables[0].to_pandas()
    for _, row in rows.iterrows():
        path = next(name for name in expected if name.endswith(row["path"]))
        found = [row[f"p_{name}"] for name in EMOTIONS]
        np.testing.assert_allclose(found, expected[path], atol=1e-4)


@pytest.mark.slow
@pytest.mark.thorough
def test_other_weights_are_refused(head_run: Path, tmp_path: Path) -> None:
    bundle = make_bundle(head_run, tmp_path / "model", HEAD).bundle
    other = tmp_path / "other.dat"
    other.write_bytes(b"other weights")
    with pytest.raises(UserError, match=r"other weights|cannot be"):
        require_weights(bundle, (("dlib_resnet", str(other)),))
    with pytest.raises(UserError, match=r"has no backbone vgg16\. Its backbones: dlib_resnet"):
        require_weights(bundle, (("vgg16", str(other)),))
    forged = tmp_path / "model" / "bundle.json"
    own = forged.read_text().replace('"weights_origin": "embedded"', '"weights_origin": "file"')
    forged.write_text(own)
    with pytest.raises(UserError, match=r"needs the weights of dlib_resnet .*dlib_resnet=FILE"):
        require_weights(read_bundle(tmp_path / "model"), ())
    forged.write_text(own.replace('"weights_origin": "file"', '"weights_origin": "embedded"'))
    digest = bundle.manifest.recipe.backbones["dlib_resnet"].weights_sha256
    forged.write_text(forged.read_text().replace(digest, "0" * 64))
    with pytest.raises(UserError, match=r"other weights of dlib_resnet .*--weights dlib_resnet="):
        require_weights(read_bundle(tmp_path / "model"), ())
