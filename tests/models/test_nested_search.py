import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.results import read_experiments
from fer_ray.evaluation.experiments.samples import Samples, read_samples
from fer_ray.evaluation.protocols.inner_splits import inner_folds
from fer_ray.models.candidate_fits import class_scores, prepare_sets, weight_sets
from fer_ray.models.configurations import (
    FAMILIES,
    INTEGER_PARAMETERS,
    Configuration,
    sample_configurations,
)
from fer_ray.models.nested_search import NestedSearch, plan_search
from fer_ray.networks.heads.head_space import Options
from fer_ray.pipelines.training.experiments import prepare_trials
from fer_ray.pipelines.training.search import read_searched_sets, run_search
from fer_ray.pipelines.training.trials import run_trials
from fer_ray.settings.root import Execution
from fer_ray.settings.training import SearchSettings, TrialSettings
from tests.patience import patience

NO_BAR = lambda *_: nullcontext(lambda _: None)  # noqa: E731
SETS = ("landmarks", "geometry")
SMALL = SearchSettings(configurations=14, feature_sets=SETS, inner_folds=3, voters=3)
BY_SUBJECT = TrialSettings(protocol="subject-10fold")
RNG = np.random.default_rng(1)
LABELS = np.repeat([0, 2, 5], 30).astype(np.int8)
FEATURES = RNG.normal(size=(90, 150)) + LABELS[:, None] * 0.15


def configuration(classifier: str, **parameters: float) -> Configuration:
    return Configuration(0, classifier, "geometry", parameters)


def search_in_this_process(out: Path, settings: SearchSettings = SMALL) -> None:
    ready = prepare_trials(out, BY_SUBJECT, SETS[0])
    experiment = plan_search(settings, BY_SUBJECT, ready.folds, ready.frames_key)
    by_set = read_searched_sets(out, settings.feature_sets, BY_SUBJECT)
    search = NestedSearch(experiment, by_set, out)
    for item in reversed(search.missing()):
        search(item)
    assert search.missing() == []
    search.assemble()


def tables(out: Path) -> dict[str, list[dict[str, object]]]:
    found = {}
    for folder in ("search", "predictions", "trials"):
        (file,) = (out / folder).glob("search-*.parquet")
        rows = pq.read_table(file).to_pylist()
        found[folder] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return found


def test_configurations_do_not_depend_on_their_number() -> None:
    many = sample_configurations(SearchSettings(), seed=3)
    assert sample_configurations(SearchSettings(configurations=9), seed=3) == many[:9]
    assert sample_configurations(SearchSettings(configurations=9), seed=4) != many[:9]
    assert {one.classifier for one in many} == set(FAMILIES)
    for one in many:
        for name, value in one.parameters.items():
            values = FAMILIES[one.classifier].ranges[name]
            if isinstance(values, Options):
                assert value in values.values
                continue
            assert values.low <= value <= values.high
            assert isinstance(value, int) == (name in INTEGER_PARAMETERS)


def test_only_features_of_faces_are_mirrored() -> None:
    def mirror(feature_set: str) -> set[float | None]:
        settings = SearchSettings(feature_sets=(feature_set,), classifiers=("svm-linear",))
        found = sample_configurations(settings, seed=3)
        return {one.parameters.get("mirror") for one in found}

    assert mirror("hog+geometry") == {0, 1}
    assert mirror("hog+dlib_resnet") == mirror("delta") == {None}


def test_sets_of_a_union_are_weighted_for_svms() -> None:
    settings = SearchSettings(feature_sets=("hog+geometry",))
    found = sample_configurations(settings, seed=3)
    weighted = [one for one in found if one.set_weights]
    assert {one.classifier for one in weighted} == {"svm-linear", "svm-rbf"}
    assert {weight for one in weighted for weight in one.set_weights} == {0.5, 1, 2}
    assert json.loads(weighted[0].parameters_json())["set_weights"] == [*weighted[0].set_weights]
    equal = sample_configurations(settings.model_copy(update={"set_weights": (1.0,)}), seed=3)
    assert not any(one.set_weights for one in equal)
    assert [one.parameters for one in equal] == [one.parameters for one in found]


def test_prepared_features_give_the_same_predictions() -> None:
    train, scored = FEATURES[::2], FEATURES[1::2]
    space = weight_sets(prepare_sets(train, scored))
    scale = StandardScaler().fit(train)
    a, b = scale.transform(train), scale.transform(scored)
    width = train.shape[1]
    plain = {
        "svm-linear": SVC(kernel="linear", C=20 / width),
        "svm-rbf": SVC(kernel="rbf", C=20, gamma=0.4 / width),
        "logistic": LogisticRegression(C=20 / width, max_iter=2000, tol=1e-6),
    }
    for name, model in plain.items():
        model.fit(a, LABELS[::2])
        scores = class_scores(configuration(name, C=20, gamma=0.4), space, LABELS[::2])
        assert np.mean(scores.argmax(axis=1) == model.predict(b)) >= 0.97, name
        assert not np.isfinite(scores[:, [1, 3, 4, 6, 7]]).any()


@pytest.mark.parametrize(
    "fitted",
    [
        configuration("lda", components=30, shrinkage=0.3),
        configuration("boosting", components=10, iterations=20, learning_rate=0.2, leaves=6),
        configuration("svm-linear", C=10),
    ],
    ids=lambda one: one.classifier,
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_learn(fitted: Configuration, n_classes: int) -> None:
    kept = np.isin(LABELS, np.unique(LABELS)[:n_classes])
    features, labels = FEATURES[kept], LABELS[kept]
    prepared = weight_sets(prepare_sets(features[::2], features[1::2]))
    scores = class_scores(fitted, prepared, labels[::2])
    assert np.mean(scores.argmax(axis=1) == labels[1::2]) > 0.6


def test_inner_folds_share_no_subject(drawn_frames: Path) -> None:
    samples = read_samples(drawn_frames / "frames", "geometry")
    train = np.arange(8, 96)
    folds = inner_folds(samples, train, 3, seed=0)
    for fold in folds:
        subjects = [{samples.subjects[train[i]] for i in part} for part in (fold.train, fold.test)]
        assert not subjects[0] & subjects[1]
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(88))


def test_test_images_do_not_affect_the_selection(drawn_frames: Path, tmp_path: Path) -> None:
    """Changing the labels and features of a fold's test images does not change its selection."""
    samples = read_searched_sets(drawn_frames, SETS, BY_SUBJECT)
    ready = prepare_trials(drawn_frames, BY_SUBJECT, SETS[0])
    experiment = plan_search(SMALL, BY_SUBJECT, ready.folds, ready.frames_key)
    test = experiment.splits[0].test
    changed = {}
    for name, one in samples.items():
        labels, features = one.labels.copy(), one.features.copy()
        labels[test], features[test] = 5, 1e3
        assert one.mirrored is not None
        mirrored = one.mirrored.copy()
        mirrored[test] = 1e3
        changed[name] = Samples(one.image_ids, one.subjects, labels, features, mirrored)
    chosen = []
    for number, by_set in enumerate((samples, changed)):
        search = NestedSearch(experiment, by_set, tmp_path / str(number))
        for name in SETS:
            search((0, name))
        (file,) = (tmp_path / str(number)).rglob("chosen-*.parquet")
        chosen.append(pq.read_table(file))
    assert chosen[0].equals(chosen[1])


def test_search_in_one_process(drawn_frames: Path) -> None:
    search_in_this_process(drawn_frames)
    (summary,) = (item.summary for item in read_experiments(drawn_frames))
    assert summary.classifier == "search"
    assert summary.experiment.startswith("search-subject-10fold-configurations=14")
    assert summary.n_images == 96
    assert summary.test_accuracy > 0.6
    found = tables(drawn_frames)
    assert len(found["search"]) == 14 * 10
    for trial in range(10):
        chosen = [row for row in found["search"] if row["trial"] == trial and row["chosen"]]
        assert 1 <= len(chosen) <= 3
    assert not (drawn_frames / "search.partial").exists()


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_search_resumes_with_other_workers(
    drawn_frames: Path, tmp_path: Path, local_ray: int
) -> None:
    for name in ("alone", "killed"):
        shutil.copytree(drawn_frames, tmp_path / name)
    search_in_this_process(tmp_path / "alone")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "fer_ray", "search", "--out", str(out), "--workers", "1"]
    options = ["--protocol", "subject-10fold", "--feature-sets", ",".join(SETS), "--voters", "3"]
    options += ["--inner-folds", "3", "--configurations", "14"]
    process = subprocess.Popen([*command, *options], start_new_session=True)
    deadline = time.monotonic() + patience(120)
    while len(list(out.glob("search.partial/*/0*.parquet"))) < 3:
        assert time.monotonic() < deadline, "no work item was written"
        assert process.poll() is None, "the search finished before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "search").exists()
    record = run_search(out, SMALL, BY_SUBJECT, Execution(workers=2), NO_BAR)
    assert tables(out) == tables(tmp_path / "alone")
    assert run_search(out, SMALL, BY_SUBJECT, Execution(), NO_BAR) == record  # nothing is repeated


@pytest.mark.slow
def test_trials_with_folds_classes_and_strict(drawn_frames: Path, tmp_path: Path) -> None:
    file, execution = tmp_path / "folds.csv", Execution(executor="in-process")
    linear = {"kernels": ("linear",), "feature_set": "geometry"}
    with pytest.raises(UserError, match="show a subject who is also in training"):
        run_trials(drawn_frames, TrialSettings(**linear), execution, NO_BAR, True, file)
    assert not (drawn_frames / "trials").exists()
    own = TrialSettings(**linear, protocol="subject-10fold", classes="7")
    record = run_trials(drawn_frames, own, execution, NO_BAR, True, file)
    assert record["leakage"]["subject"] == 0
    run_trials(drawn_frames, TrialSettings(**linear, folds=file), execution, NO_BAR)
    one, other = sorted(
        (item.summary for item in read_experiments(drawn_frames)),
        key=lambda summary: summary.protocol,
    )
    assert other.experiment == "svm-linear-geometry-subject-10fold-classes=7"
    assert one.experiment.startswith("svm-linear-geometry-given-folds-")
    assert one.test_accuracy == other.test_accuracy
    assert one.test_log_loss == other.test_log_loss
    assert one.classes == ("anger", "disgust", "happy", "surprise")
