import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_ray.evaluation.comparison import compare
from fer_ray.evaluation.experiments.experiment_groups import group_experiments
from fer_ray.evaluation.experiments.results import read_results
from fer_ray.report.figures import model_curves
from fer_ray.report.figures.model_curves import reliability
from fer_ray.report.run_page import write_report
from fer_ray.report.sections import experiment_tables, model_comparison
from fer_ray.report.text import published_results
from fer_ray.report.theme import LIGHT
from fer_ray.schemas import HISTORY_SCHEMA


@pytest.fixture
def run_dir(build_run) -> Path:
    """SVMs on two protocols, and a head on VGG16 with its learning curves."""
    experiments = (
        ("svm-linear", "random", 0.7), ("svm-poly", "random", 0.5), ("svm-rbf", "random", 0.6),
        ("svm-linear", "loso", 0.6),
    )  # fmt: skip
    built = build_run(experiments=experiments)
    history = [
        {"experiment": "svm-poly-reference-random", "trial": trial, "epoch": epoch,
         "train_loss": 2 - epoch / 10, "train_accuracy": epoch / 10,
         "validation_loss": 2 + (epoch - 4) ** 2 / 10 + trial, "validation_accuracy": 0.3,
         "learning_rate": 1e-3}
        for trial in range(3) for epoch in range(8)
    ]  # fmt: skip
    heads = built.run_dir / "heads"
    heads.mkdir()
    pq.write_table(
        pa.Table.from_pylist(history, schema=HISTORY_SCHEMA),
        heads / "svm-poly-reference-random.history.parquet",
    )
    weights = {"origin": "imagenet", "sha256": "ab" * 32, "file": "w.h5"}
    (built.run_dir / "bottleneck").mkdir()
    record = {"weights": weights, "preprocessing": "as trained", "numbers": 256,
              "rows_done": 40, "seconds": 61.0}  # fmt: skip
    (built.run_dir / "bottleneck" / "mobilenet.json").write_text(json.dumps(record))
    absent = {"weights_not_available": {"vgg16": "cannot be fetched"}, "backbones": {}}
    (built.run_dir / "deep.json").write_text(json.dumps(absent))
    return built.run_dir


def test_model_rows(run_dir: Path) -> None:
    run = read_results(run_dir)
    (comparison,) = model_comparison.compare_groups(
        group_experiments(run.experiments)
    )  # groups of a single model are left out
    classifiers = [item.summary.classifier for item in comparison.group.models]
    assert classifiers == ["svm-linear", "svm-rbf", "svm-poly"]
    rows = model_comparison.model_rows(comparison)
    assert all(len(row) == len(model_comparison.HEADS) for row in rows)
    right = {
        item.summary.classifier: comparison.correct[at]
        for at, item in enumerate(comparison.group.models)
    }
    linear, poly, rbf = right["svm-linear"], right["svm-poly"], right["svm-rbf"]
    assert rows[0][6:] == (
        str((~linear).sum()), str((linear & ~poly & ~rbf).sum()), str((~linear & poly & rbf).sum())
    )  # fmt: skip
    assert f"{(linear & poly & rbf).sum()} right" in model_comparison.describe_consensus(comparison)
    assert f"{(~linear & ~poly & ~rbf).sum()} wrong" in model_comparison.describe_consensus(
        comparison
    )


def test_models_with_other_test_images_are_left_out(run_dir: Path) -> None:
    file = run_dir / "predictions" / "svm-linear-reference-random.parquet"  # of the best
    pq.write_table(pq.read_table(file).slice(1), file)
    (comparison,) = model_comparison.compare_groups(
        group_experiments(read_results(run_dir).experiments)
    )
    assert {item.summary.classifier for item in comparison.group.models} == {"svm-poly", "svm-rbf"}


def test_agreement_of_two_models_is_a_sentence(run_dir: Path) -> None:
    (run_dir / "trials" / "svm-rbf-reference-random.parquet").unlink()
    run = read_results(run_dir)
    (comparison,) = model_comparison.compare_groups(group_experiments(run.experiments))
    text = model_comparison.describe_consensus(comparison)
    assert "both models get" in text
    alike = 100 * np.mean(comparison.predicted[0] == comparison.predicted[1])
    assert text.endswith(f"They agree on {alike:.1f}% of them.")
    assert [item.name for item in model_comparison.comparison_pictures(run, comparison, 0)] == [
        "calibration-0"
    ]


def test_agreement_of_three_models_is_a_matrix(run_dir: Path) -> None:
    run = read_results(run_dir)
    (comparison,) = model_comparison.compare_groups(group_experiments(run.experiments))
    assert "all 3 models get" in model_comparison.describe_consensus(comparison)
    assert "agree" not in model_comparison.describe_consensus(comparison)
    names = [item.name for item in model_comparison.comparison_pictures(run, comparison, 0)]
    assert names == ["calibration-0", "agreement-0"]


@pytest.mark.parametrize("n_trials", [1, 2])
def test_difference_without_interval(build_run, n_trials: int) -> None:
    few = {"n_trials": n_trials, "settings": f"-n_trials={n_trials}"}
    built = build_run(
        experiments=[("svm-linear", "random", 0.7, few), ("svm-poly", "random", 0.5, few)]
    )
    (comparison,) = model_comparison.compare_groups(
        group_experiments(read_results(built.run_dir).experiments)
    )
    text = model_comparison.describe_best_two(comparison)
    assert "nan" not in text
    assert ("no interval; no p-value" in text) == (n_trials == 1)


def test_paired_test_of_the_best_two(run_dir: Path) -> None:
    (comparison,) = model_comparison.compare_groups(
        group_experiments(read_results(run_dir).experiments)
    )
    first, second = comparison.group.models[:2]
    tested = compare((first.trials, first.predictions), (second.trials, second.predictions))
    text = model_comparison.describe_best_two(comparison)
    assert f"p = {tested.p_value:.2g}" in text
    assert f"{100 * tested.difference:+.1f}".lstrip("+") in text


def test_agreement(run_dir: Path) -> None:
    (comparison,) = model_comparison.compare_groups(
        group_experiments(read_results(run_dir).experiments)
    )
    shares = model_comparison.agreement(comparison)
    assert np.array_equal(np.diag(shares), np.ones(3))
    assert (
        shares[0, 1] == shares[1, 0] == np.mean(comparison.predicted[0] == comparison.predicted[1])
    )


def test_reliability(run_dir: Path) -> None:
    item = read_results(run_dir).experiments[0]
    item.predictions["probabilities"] = [np.eye(8)[0] * 0.93 + 0.01] * len(item.predictions)
    confidence, right = reliability(item.predictions)
    assert confidence == pytest.approx([0.94])
    assert right == pytest.approx([(item.predictions["label"] == 0).mean()])


def test_networks_without_weights(run_dir: Path) -> None:
    run = read_results(run_dir)
    assert ("vgg16", "weights not available", "–", "–", "–") in experiment_tables.backbone_rows(run)
    ours = {row[0]: row[3] for row in published_results.published_rows(run)}
    assert ours["Reference study: VGG16, pooled, softmax head"] == ["weights not available"]
    assert ours["Reference study: augmented VGG16, raw pixels, sigmoid head"] == [
        "weights not available"  # the same file
    ]
    assert ours["Reference study: Xception, pooled, softmax head"] == ["not in this run"]
    assert "mean accuracy" in ours["Reference study: linear SVM on 67 landmarks"][0]


def test_timing_of_network_features(run_dir: Path) -> None:
    rows = experiment_tables.timing_rows(read_results(run_dir))
    expected = ("Features of mobilenet", "61 s", "40 images, including the start of workers")
    assert expected in rows


def test_network_with_late_weights_has_one_row(run_dir: Path) -> None:
    run = read_results(run_dir)
    record = {"weights": {"origin": "imagenet", "sha256": "0" * 64}, "preprocessing": "caffe",
              "numbers": 512}  # fmt: skip
    rows = experiment_tables.backbone_rows(
        replace(run, backbones={**run.backbones, "vgg16": record})
    )
    assert [row[1] for row in rows if row[0] == "vgg16"] == ["ImageNet, as published by Keras"]


def test_results_next_to_those_of_the_study(build_run) -> None:
    single_split = {"feature_set": "vgg16", "n_trials": 1, "settings": "-n_trials=1"}
    built = build_run(experiments=[
        ("head", "random", 0.7, {"feature_set": "vgg16"}), ("head", "random", 0.6, single_split)
    ])  # fmt: skip
    (built.run_dir / "bottleneck").mkdir()
    record = {"weights": {"origin": "imagenet"}}
    (built.run_dir / "bottleneck" / "vgg16.json").write_text(json.dumps(record))
    run = read_results(built.run_dir)
    ours = {row[0]: row[3] for row in published_results.published_rows(run)}
    single, ten = ours["Reference study: VGG16, pooled, softmax head"]
    assert re.match(r"mean accuracy \S+.%, log loss \d\.\d{3} \(", ten)
    assert re.match(r"accuracy \S+.%, log loss \d\.\d{3} \(.*1 random split", single)


def test_learning_curves_average_common_epochs(run_dir: Path) -> None:
    (history,) = read_results(run_dir).histories.values()
    assert model_curves.shared_epochs(history).equals(history)
    early = history[(history["trial"] != 1) | (history["epoch"] < 3)]
    assert sorted(model_curves.shared_epochs(early)["epoch"].unique()) == [0, 1, 2]
    figure = model_curves.learning(early, LIGHT)
    means = [line for line in figure.axes[0].lines if line.get_linewidth() > 1]
    assert [len(line.get_xdata()) for line in means] == [3, 3]
    own = [line for line in figure.axes[0].lines if line.get_linewidth() < 1]
    assert sorted({len(line.get_xdata()) for line in own}) == [1, 6]


def test_decreasing_loss_is_reported(run_dir: Path) -> None:
    run = read_results(run_dir)
    ((name, history),) = run.histories.items()
    still = history[history["epoch"] <= 4]
    stopped = still[(still["trial"] != 1) | (still["epoch"] < 3)]
    for shown, reported in ((history, False), (still, True), (stopped, False)):
        (learning,) = model_comparison.learning_pictures(replace(run, histories={name: shown}))
        assert ("It was still decreasing" in learning.alt) == reported


def test_results_next_to_lucey_et_al(build_run) -> None:
    seven = {"settings": "-classes=7"}
    built = build_run(experiments=(
        ("svm-linear", "loso", 0.5, {"feature_set": "reference", **seven}),
        ("svm-linear", "loso", 0.9, {"feature_set": "delta", **seven}),
        ("svm-linear", "loso", 0.7, {"feature_set": "delta-hog+delta", **seven}),
        ("svm-linear", "loso", 0.95),
        ("svm-linear", "subject-10fold", 0.95, seven),
    ))  # fmt: skip
    (*_, (_, _, protocol, lines)) = published_results.published_rows(read_results(built.run_dir))
    assert protocol == "leave one subject out, 7 classes without neutral"
    assert [line.split(" features")[0] for line in lines] == [
        "Linear SVM on delta", "Linear SVM on delta-hog+delta", "Linear SVM on reference",
        "(“source”; leave one subject out, 16 folds, 7 classes without neutral)",
    ]  # fmt: skip
    assert ["comparable: minus" in line for line in lines] == [True, True, False, False]


def test_page_shows_learning_curves(run_dir: Path) -> None:
    page = write_report(run_dir, None, show_faces=False).read_text(encoding="utf-8")
    assert 'id="side"' in page
    assert "nats, in epoch 5." in page
    assert (run_dir / "report" / "learning-0.png").is_file()
    assert "weights not available" in page
