from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.models.bundles.skops_files import dump_estimator, load_estimator
from fer_ray.models.svm import build_svm
from fer_ray.models.temperature_svm import TemperatureSvm
from fer_ray.pipelines.training.make_bundle import make_bundle
from fer_ray.settings.training import Kernel, TrialSettings
from fer_ray.storage.files import read_json
from fer_ray.vocabulary import ABSTAINED, EMOTIONS
from tests.conftest import FerRay

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]


def fit(kernel: Kernel, settings: TrialSettings, features: Floats, labels: Codes) -> TemperatureSvm:
    """Fit a model on images of ten people."""
    numbers = range(len(labels))
    subjects = [f"S{number % 10}" for number in numbers]
    samples = Samples([f"I{number}" for number in numbers], subjects, labels, features)
    return TemperatureSvm(kernel, settings).fit(samples, np.arange(len(labels)))


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
@pytest.mark.parametrize("scale", ["none", "standard", "equal"])
def test_saved_model_predicts_the_same(kernel: Kernel, scale: str) -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 5, 120).astype(np.int8)
    features = random.normal(size=(120, 44 + 136)) + labels[:, None]
    union = {"scale": scale, "feature_set": "geometry+landmarks"}
    settings = TrialSettings.model_validate(union)
    model = fit(kernel, settings, features, labels)
    estimator = load_estimator(dump_estimator(model.estimator), "model.skops")
    loaded = TemperatureSvm.from_fitted(estimator, model.sharpness, model.scaling)
    assert np.array_equal(loaded.probabilities(features), model.probabilities(features))
    assert np.array_equal(loaded.predict(features), model.predict(features))
    assert loaded.classes == model.classes


def test_estimators_are_loaded_as_by_skops() -> None:
    from skops.io import get_untrusted_types, loads

    random = np.random.default_rng(3)
    labels = random.integers(0, 5, 60).astype(np.int8)
    union = {"scale": "equal", "feature_set": "geometry+landmarks"}
    estimator = build_svm("rbf", TrialSettings.model_validate(union), 180)
    content = dump_estimator(estimator.fit(random.normal(size=(60, 180)), labels))
    theirs = loads(content, trusted=get_untrusted_types(data=content))
    assert_same(load_estimator(content, "model.skops"), theirs)


def assert_same(one: object, other: object) -> None:
    """Check that two objects have the same types and values, at any depth."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)  # type: ignore[attr-defined]
        assert np.array_equal(one, other)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_same(first, second)
    elif hasattr(one, "__dict__") or isinstance(one, dict):
        first, second = (item if isinstance(item, dict) else vars(item) for item in (one, other))
        assert first.keys() == second.keys()
        for name, value in first.items():
            assert_same(value, second[name])
    else:
        assert one == other


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
@pytest.mark.parametrize("scale", ["none", "standard"])
def test_predictions_do_not_depend_on_other_rows(kernel: Kernel, scale: str) -> None:
    random = np.random.default_rng(4)
    labels = random.integers(0, 8, 160).astype(np.int8)
    features = random.normal(size=(160, 300)) + labels[:, None] / 4
    settings = TrialSettings.model_validate({"scale": scale})
    model = fit(kernel, settings, features, labels)
    alone = np.vstack([model.probabilities(row[None]) for row in features])
    for size in (2, 3, 7, 64, 159):
        rows = random.permutation(160)[:size]
        assert np.array_equal(model.probabilities(features[rows]), alone[rows])
        assert np.array_equal(model.predict(features[rows]), model.predict(features)[rows])


def test_bundle_predicts_like_a_model_fitted_on_all_rows(run_dir: Path, kept_bundle: Path) -> None:
    samples = read_samples(run_dir / "frames", "reference")
    everything = np.arange(len(samples.labels))
    model = TemperatureSvm("linear", TrialSettings()).fit(samples, everything)
    frames = pq.read_table(run_dir / "frames")
    predictions = Predictor(kept_bundle)(frames).to_pandas().set_index("image_id")
    own = predictions.loc[samples.image_ids]
    probabilities = own[[f"p_{name}" for name in EMOTIONS]].to_numpy()
    assert np.array_equal(probabilities, model.probabilities(samples.features))
    assert own["predicted"].tolist() == [EMOTIONS[code] for code in model.predict(samples.features)]


def test_answers_of_a_bundle(run_dir: Path, kept_bundle: Path) -> None:
    frames = pq.read_table(run_dir / "frames")
    predictor = Predictor(kept_bundle)
    rows = predictor(frames).to_pylist()
    threshold = predictor.bundle.manifest.confidence.set_threshold
    for row in rows:
        probabilities = {name: row[f"p_{name}"] for name in predictor.labels}
        best = max(probabilities, key=lambda name: probabilities[name])
        assert (row["predicted"], row["probability"]) == (best, probabilities[best])
        assert {*row["prediction_set"]} == {n for n, p in probabilities.items() if p >= threshold}
        assert row["answer"] == (best if len(row["prediction_set"]) == 1 else ABSTAINED)
        assert 0 < row["ood_p_value"] <= 1
    sure = Predictor(kept_bundle, abstain_below=0.6)(frames).to_pylist()
    assert {row["answer"] == ABSTAINED for row in sure if row["probability"] < 0.6} <= {True}
    assert all(row["answer"] == row["predicted"] for row in sure if row["probability"] >= 0.6)


def test_columns_do_not_depend_on_other_rows(run_dir: Path, kept_bundle: Path) -> None:
    frames, predictor = pq.read_table(run_dir / "frames").slice(0, 12), Predictor(kept_bundle)
    alone = pa.concat_tables(predictor(frames.slice(row, 1)) for row in range(frames.num_rows))
    assert predictor(frames).equals(alone)


def test_rows_without_features_have_no_prediction(run_dir: Path, kept_bundle: Path) -> None:
    frames = pq.read_table(run_dir / "frames").slice(0, 4)
    statuses = pa.array(["ok", "no_face", "ok_by_box", "unreadable"])
    frames = frames.set_column(frames.column_names.index("status"), "status", statuses)
    predictor = Predictor(kept_bundle)
    predictions = predictor(frames)
    assert predictions["image_id"].equals(frames["image_id"])
    assert predictions["predicted"].is_valid().to_pylist() == [True, False, True, False]
    assert predictions["p_happy"].is_valid().to_pylist() == [True, False, True, False]
    assert set(predictions["bundle_sha256"].to_pylist()) == {predictor.sha256}
    assert predictor(frames.slice(0, 0)).num_rows == 0


def test_figures_and_training_data_of_a_bundle(run_dir: Path, kept_bundle: Path) -> None:
    predictor = Predictor(kept_bundle)
    manifest, run = predictor.bundle.manifest, read_json(run_dir / "run.json")
    assert run is not None
    record = next(
        one for one in run["experiments"] if one["experiment"] == manifest.evidence.experiment
    )
    assert manifest.evidence.test_accuracy == record["test_accuracy"]
    assert manifest.training.images == run["counts"]["ok"] == len(predictor.trained_on)
    card = (kept_bundle / "CARD.md").read_text()
    assert f"accuracy | {record['test_accuracy']:.3f}" in card
    assert "excludes commercial use" in card
    assert "say nothing about real ones" in card
    settings = predictor.bundle.settings()
    assert settings.features.sets == ("reference",)
    assert settings.crop.search == run["extract"]["settings"]["crop"]["search"]


def test_bundle_command(run_dir: Path, fer_ray: FerRay, tmp_path: Path) -> None:
    target = tmp_path / "model"
    done = fer_ray("bundle", "--out", run_dir, "--to", target)
    assert done.returncode == 0, done.stderr
    assert "fitted on all" in done.stdout
    again = fer_ray("bundle", "--out", run_dir, "--to", target)
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_unknown_experiment(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no experiment x\..*experiments: svm-linear-reference-random"
    ):
        make_bundle(run_dir, tmp_path / "model", "x")


def test_predictions_into_a_run_folder_are_refused(
    run_dir: Path, kept_bundle: Path, corpus: Path
) -> None:
    from fer_ray.pipelines.prediction.prediction_plan import plan_prediction

    with pytest.raises(UserError, match="is the run folder of an extraction"):
        plan_prediction(kept_bundle, [corpus], run_dir)
