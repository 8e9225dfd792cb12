"""Heads on synthetic features; complete jobs on a real local Ray."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation import metrics
from fer_ray.evaluation.comparison import compare_by_name
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.evaluation.experiments.trial_store import TrialStore
from fer_ray.evaluation.protocols.splits import Split, make_splits
from fer_ray.execution.progress import silent
from fer_ray.models.svm_trials import run_trial
from fer_ray.networks.heads import head_trials
from fer_ray.networks.heads.head import HeadTraining, train_head
from fer_ray.networks.heads.head_data import HeadData, head_data, validation_split
from fer_ray.networks.heads.head_trials import HeadStore, HeadTrials, plan_heads
from fer_ray.networks.keras_backend import load_keras
from fer_ray.pipelines.training.experiments import prepare_trials
from fer_ray.pipelines.training.heads import run_heads
from fer_ray.pipelines.training.trials import run_trials
from fer_ray.settings.networks import HEADS, HeadSettings
from fer_ray.settings.root import Execution
from fer_ray.settings.training import TrialSettings
from fer_ray.storage.files import write_json
from fer_ray.storage.parquet import write_table

IN_PROCESS = Execution(executor="in-process")  # where TensorFlow has started


@pytest.fixture
def samples(drawn_frames: Path) -> Samples:
    return read_samples(drawn_frames / "frames", "geometry")


@pytest.fixture
def data(samples: Samples) -> HeadData:
    split = make_splits(TrialSettings(n_trials=1), samples.labels, samples.subjects)[0]
    return head_data(samples, None, validation_split(samples, split.train, "random", 0.2, 0, 0))


def test_reference_heads_match_the_study() -> None:
    head = HEADS["reference"]
    assert (head.epochs, head.batch_size, head.optimizer) == (20, 20, "adam")
    assert (head.hidden, head.dropout, head.activation, head.draws) == (0, 0, "softmax", 0)
    augmented, published = HEADS["augmented"], HEADS["augmented-reference"]
    assert (augmented.epochs, augmented.steps_per_epoch, augmented.batch_size) == (10, 8, 32)
    assert (augmented.reduce_lr_patience, augmented.stop_patience) == (5, 3)
    assert published == augmented.model_copy(update={"activation": "sigmoid"})


def test_random_split_has_the_sizes_of_the_study(samples: Samples) -> None:
    train = np.arange(354) % 96
    inner = validation_split(samples, train, "random", 0.2, 0, 0)
    assert (len(inner.train), len(inner.test)) == (283, 71)


def test_validation_is_subject_disjoint(samples: Samples) -> None:
    train = np.arange(16, 96)
    inner = validation_split(samples, train, "subject-10fold", 0.2, 0, 3)
    fitted, validated = ({samples.subjects[row] for row in part}
                         for part in (inner.train, inner.test))  # fmt: skip
    assert not fitted & validated
    assert sorted([*inner.train, *inner.test]) == train.tolist()
    assert 0.1 < len(inner.test) / len(train) < 0.3


def test_best_epoch_has_the_lowest_validation_loss(data: HeadData) -> None:
    training = train_head(HeadSettings(epochs=30, learning_rate=0.05), data, seed=1)
    losses = [epoch["validation_loss"] for epoch in training.history]
    assert len(losses) == 30
    assert training.best["validation_loss"] == min(losses) < losses[-1]
    answers = training.outputs(data.validation)
    again = metrics.log_loss(data.validation_labels, answers)
    assert again == pytest.approx(min(losses), rel=1e-6)


def test_training_figures_are_means_over_images(data: HeadData) -> None:
    training = HeadTraining(HeadSettings(learning_rate=1e-12, batch_size=7), data, seed=1)
    record = training.run_epoch()
    answers = training.outputs(data.features)
    assert record["train_loss"] == pytest.approx(metrics.log_loss(data.labels, answers), rel=1e-4)
    right = float(np.mean(data.labels == answers.argmax(axis=1)))
    assert record["train_accuracy"] == pytest.approx(right)


def test_history_is_reproducible(data: HeadData) -> None:
    settings = HeadSettings(epochs=4, hidden=8, dropout=0.3)
    one, other = (train_head(settings, data, seed=2) for _ in range(2))
    assert one.history == other.history
    assert train_head(settings, data, seed=3).history != one.history


def test_epoch_with_nan_is_never_the_best(data: HeadData) -> None:
    training = HeadTraining(HeadSettings(epochs=3), data, seed=1)
    start, answer = training.outputs(data.validation), training.outputs
    gone = np.full_like(start, np.nan)
    training.outputs = lambda features: gone  # type: ignore[method-assign]
    assert training.run_epoch()["validation_loss"] == np.inf
    training.outputs = answer  # type: ignore[method-assign]
    assert training.run_epoch()["validation_loss"] < np.inf
    assert training.best["epoch"] == 1


@pytest.mark.slow
def test_diverged_training_raises(drawn_frames: Path) -> None:
    rows = pq.read_table(drawn_frames / "frames")
    at = rows.column_names.index("features_geometry")
    huge = pa.array([[3e38] * 44] * rows.num_rows, rows.schema.field(at).type)
    write_table(rows.set_column(at, "features_geometry", huge),
                      drawn_frames / "frames" / "part-0.parquet")  # fmt: skip
    splitting = TrialSettings(n_trials=1)
    with pytest.raises(UserError, match="no epoch has a finite validation loss in trial 0"):
        run_heads(drawn_frames, "reference", "geometry", splitting, IN_PROCESS, silent)
    assert not (drawn_frames / "heads").exists()


def test_sigmoid_probabilities_sum_to_one(data: HeadData) -> None:
    training = train_head(HeadSettings(epochs=2, activation="sigmoid"), data, seed=1)
    answers = training.probabilities(data.validation)
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    assert answers.min() >= 0


def test_early_stopping_and_plateaus(data: HeadData) -> None:
    settings = HeadSettings(
        epochs=40, learning_rate=0.5, reduce_lr_patience=1, stop_patience=4, optimizer="sgd"
    )
    training = train_head(settings, data, seed=1)
    rates = [epoch["learning_rate"] for epoch in training.history]
    assert len(rates) < 40
    assert rates[-1] == pytest.approx(0.1 * max(rates), rel=1e-5) or rates[-1] < 0.1 * max(rates)
    best = int(training.best["epoch"])
    assert len(rates) == best + 1 + 4


def test_saved_head_predicts_as_the_trained_one(data: HeadData, tmp_path: Path) -> None:
    settings = HeadSettings(epochs=3, standardise=True, hidden=6, dropout=0.2, weight_decay=1e-3)
    training = train_head(settings, data, seed=1)
    training.save(tmp_path / "head.keras")
    loaded = load_keras().models.load_model(tmp_path / "head.keras", safe_mode=True)
    again = np.asarray(loaded.predict_on_batch(data.validation))
    np.testing.assert_allclose(again, training.outputs(data.validation), atol=1e-6)


def test_calibration_lowers_the_validation_loss_and_changes_no_answer(
    samples: Samples, tmp_path: Path
) -> None:
    noisy = samples.labels.copy()
    noisy[::3] = 0
    samples = replace(samples, labels=noisy)
    inner = validation_split(samples, np.arange(96), "subject-10fold", 0.2, 0, 0)
    data = head_data(samples, None, inner)
    settings = HEADS["default"].model_copy(update={"stop_patience": None, "epochs": 60})
    plain = train_head(settings.model_copy(update={"calibrate": False}), data, seed=1)
    calibrated = train_head(settings, data, seed=1)
    before, after = (one.probabilities(data.validation) for one in (plain, calibrated))
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    losses = [metrics.log_loss(data.validation_labels, one) for one in (before, after)]
    assert losses[1] < losses[0]
    calibrated.save(tmp_path / "head.keras")
    loaded = load_keras().models.load_model(tmp_path / "head.keras", safe_mode=True)
    again = np.asarray(loaded.predict_on_batch(data.validation))
    np.testing.assert_allclose(again, calibrated.outputs(data.validation), atol=1e-6)


def test_balanced_weights_favour_rare_classes(samples: Samples) -> None:
    rare = np.concatenate(
        [np.flatnonzero(samples.labels != 7), np.flatnonzero(samples.labels == 7)[:3]]
    )
    labels, features = samples.labels[rare], samples.features[rare].astype(np.float32)
    data = HeadData(features, labels, features, labels, np.unique(labels))
    means = []
    for weights in ("none", "sqrt", "balanced"):
        settings = HeadSettings.model_validate({"class_weights": weights, "epochs": 15})
        training = HeadTraining(settings, data, seed=1)
        while not training.finished:
            training.run_epoch()
        means.append(training.probabilities(features)[:, 7].mean())
    assert means[2] > 1.2 * means[0]
    assert means[0] < means[1] < means[2]


def test_default_head_learns_as_much_as_an_svm(samples: Samples) -> None:
    units = np.logspace(-3, 3, samples.features.shape[1])
    samples = replace(samples, features=samples.features * units)
    split = Split(np.arange(72), np.arange(72, 96))
    scaled = TrialSettings(scale="standard")
    svm = run_trial("linear", scaled, "platt", samples, split)
    inner = validation_split(samples, split.train, "subject-10fold", 0.2, 0, 0)
    training = train_head(HEADS["default"], head_data(samples, None, inner), seed=1)
    assert len(training.history) < HEADS["default"].epochs
    predicted = training.probabilities(samples.features[split.test].astype(np.float32)).argmax(1)
    correct = np.sum(predicted == samples.labels[split.test])
    assert correct >= np.sum(svm.predicted[-24:] == samples.labels[split.test]) - 2


@pytest.mark.slow
def test_heads_are_experiments(drawn_frames: Path, local_ray: int) -> None:
    splitting = TrialSettings(feature_set="geometry", kernels=("linear",), n_trials=3)
    execution = Execution(workers=1)
    run_trials(drawn_frames, splitting, execution, silent)
    card = run_heads(drawn_frames, "reference", "geometry", splitting, execution, silent)
    name = card["experiment"]
    assert name == "head-geometry-random-n_trials=3"
    found = read_experiments(drawn_frames)
    difference = compare_by_name(found, name, "svm-linear-geometry-random-n_trials=3")
    assert -1 <= difference.difference <= 1  # the same images of the same trials

    history = pq.read_table(drawn_frames / "heads" / f"{name}.history.parquet").to_pandas()
    assert history.groupby("trial").size().tolist() == [20, 20, 20]
    best = history.loc[history.validation_loss.idxmin()]
    assert (card["chosen"]["trial"], card["chosen"]["epoch"]) == (best.trial, best.epoch)
    assert card["labels"] == ["anger", "disgust", "happy", "surprise"]
    assert card["input_width"] == 44
    (trials,) = (item.trials for item in found if item.name == name)
    ready = prepare_trials(drawn_frames, splitting, "geometry").folds
    assert card["figures"]["test_accuracy"] == pytest.approx(trials.test_accuracy.mean())
    loaded = load_keras().models.load_model(drawn_frames / "heads" / f"{name}.keras")
    assert loaded.input_shape == (None, 44)

    trained = pq.read_table(drawn_frames / "trials" / f"{name}.parquet").to_pylist()
    assert {row["n_train"] for row in trained} == {len(ready.splits[0].train)}
    file = drawn_frames / "heads" / f"{name}.json"
    write_json({**card, "figures": {}}, file)  # as after a stop just before they are written
    for _ in range(2):
        again = run_heads(drawn_frames, "reference", "geometry", splitting, execution, silent)
        assert again.pop("already_finished")
        assert again == card == json.loads(file.read_text())


def test_stop_before_the_card_loses_nothing(
    drawn_frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splitting = TrialSettings(feature_set="geometry", n_trials=2)
    ready = prepare_trials(drawn_frames, splitting, "geometry")
    settings = HeadSettings(epochs=1)
    experiment = plan_heads(
        "reference", settings, "geometry", splitting, ready.folds, ready.frames_key
    )
    work = HeadTrials(experiment, ready.samples, None, drawn_frames)
    for trial in range(2):
        work(trial)
    store = HeadStore(drawn_frames, experiment)
    with monkeypatch.context() as stopped:
        stopped.setattr(head_trials, "write_json", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.assemble({})
    store.assemble({})
    assert TrialStore(drawn_frames, experiment).finished()
    heads = {file.name for file in (drawn_frames / "heads").iterdir()}
    name = experiment.name
    assert heads == {f"{name}.history.parquet", f"{name}.keras", f"{name}.json"}


@pytest.mark.slow
@pytest.mark.thorough
def test_heads_on_folds_by_subject(drawn_frames: Path) -> None:
    splitting = TrialSettings(protocol="subject-10fold")
    card = run_heads(drawn_frames, "reference", "geometry", splitting, IN_PROCESS, silent)
    assert card["experiment"] == "head-geometry-subject-10fold"
    assert card["figures"]["test_subject_in_train"] == 0
    assert card["figures"]["images"] == 96


def test_missing_features_name_the_command(drawn_frames: Path) -> None:
    with pytest.raises(UserError, match=r"fer-ray bottleneck --out .* --backbone mobilenet"):
        run_heads(drawn_frames, "reference", "mobilenet", TrialSettings(), Execution(), silent)
    with pytest.raises(UserError, match="requires a single backbone"):
        run_heads(drawn_frames, "augmented", "geometry", TrialSettings(), Execution(), silent)
