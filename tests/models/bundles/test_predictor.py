from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.samples import read_samples
from fer_ray.models.bundles.estimators import dump_estimator, load_estimator
from fer_ray.models.bundles.predictor import Predictor
from fer_ray.models.svm import CalibratedSvm
from fer_ray.pipelines.make_bundle import make_bundle
from fer_ray.settings.training import Kernel, TrialSettings
from fer_ray.storage.files import read_json
from fer_ray.vocabulary import EMOTIONS
from tests.conftest import FerRay


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
@pytest.mark.parametrize("scale", ["none", "standard", "equal"])
def test_a_model_answers_after_saving_as_before_to_the_bit(kernel: Kernel, scale: str) -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 5, 120).astype(np.int8)
    features = random.normal(size=(120, 44 + 136)) + labels[:, None]
    union = {"scale": scale, "feature_set": "geometry+landmarks"}
    settings = TrialSettings.model_validate(union)
    model = CalibratedSvm(kernel, settings).fit(features, labels)
    again = CalibratedSvm.of(load_estimator(dump_estimator(model.calibrated), "model.skops"))
    assert np.array_equal(again.probabilities(features), model.probabilities(features))
    assert np.array_equal(again.predict(features), model.predict(features))
    assert again.classes == model.classes


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
@pytest.mark.parametrize("scale", ["none", "standard"])
def test_a_row_is_answered_the_same_to_the_bit_whatever_rows_are_beside_it(
    kernel: Kernel, scale: str
) -> None:
    random = np.random.default_rng(4)
    labels = random.integers(0, 8, 160).astype(np.int8)
    features = random.normal(size=(160, 300)) + labels[:, None] / 4
    settings = TrialSettings.model_validate({"scale": scale})
    model = CalibratedSvm(kernel, settings).fit(features, labels)
    alone = np.vstack([model.probabilities(row[None]) for row in features])
    for size in (2, 3, 7, 64, 159):
        rows = random.permutation(160)[:size]
        assert np.array_equal(model.probabilities(features[rows]), alone[rows])
        assert np.array_equal(model.predict(features[rows]), model.predict(features)[rows])


def test_a_bundle_answers_as_the_model_fitted_on_all_rows_to_the_bit(
    run_dir: Path, kept_bundle: Path
) -> None:
    samples = read_samples(run_dir / "frames", "reference")
    model = CalibratedSvm("linear", TrialSettings()).fit(samples.features, samples.labels)
    frames = pq.read_table(run_dir / "frames")
    answers = Predictor(kept_bundle)(frames).to_pandas().set_index("image_id")
    own = answers.loc[samples.image_ids]
    probabilities = own[[f"p_{name}" for name in EMOTIONS]].to_numpy()
    assert np.array_equal(probabilities, model.probabilities(samples.features))
    assert own["predicted"].tolist() == [EMOTIONS[code] for code in model.predict(samples.features)]


def test_rows_are_kept_in_order_and_those_without_features_get_no_answer(
    run_dir: Path, kept_bundle: Path
) -> None:
    frames = pq.read_table(run_dir / "frames").slice(0, 4)
    statuses = pa.array(["ok", "no_face", "ok_by_box", "unreadable"])
    frames = frames.set_column(frames.column_names.index("status"), "status", statuses)
    predictor = Predictor(kept_bundle)
    answers = predictor(frames)
    assert answers["image_id"].equals(frames["image_id"])
    assert answers["predicted"].is_valid().to_pylist() == [True, False, True, False]
    assert answers["p_happy"].is_valid().to_pylist() == [True, False, True, False]
    assert set(answers["bundle_sha256"].to_pylist()) == {predictor.sha256}
    assert predictor(frames.slice(0, 0)).num_rows == 0


def test_the_bundle_says_what_it_was_trained_on_and_how_well_it_did(
    run_dir: Path, kept_bundle: Path
) -> None:
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
    settings = predictor.settings()
    assert settings.features.sets == ("reference",)
    assert settings.crop.search == run["extract"]["settings"]["crop"]["search"]


def test_the_command_takes_the_leading_svm_and_leaves_what_is_there_alone(
    run_dir: Path, fer_ray: FerRay, tmp_path: Path
) -> None:
    target = tmp_path / "model"
    done = fer_ray("bundle", "--out", run_dir, "--to", target)
    assert done.returncode == 0, done.stderr
    assert "fitted on all" in done.stdout
    again = fer_ray("bundle", "--out", run_dir, "--to", target)
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_an_unknown_experiment_is_told_which_there_are(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no experiment x .*There are: svm-linear-reference-random"
    ):
        make_bundle(run_dir, tmp_path / "model", "x")


def test_predictions_never_go_into_the_run_folder_of_an_extraction(
    run_dir: Path, kept_bundle: Path, corpus: Path
) -> None:
    from fer_ray.pipelines.predict import plan as plan_prediction

    with pytest.raises(UserError, match="is the run folder of an extraction"):
        plan_prediction(kept_bundle, [corpus], run_dir)
