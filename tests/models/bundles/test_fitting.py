import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fer_ray.errors import UserError
from fer_ray.evaluation.experiments.results import RunResults, read_experiments
from fer_ray.execution.progress import silent
from fer_ray.models.bundles.fitting import equivalent_svm_settings
from fer_ray.models.candidate_fits import class_scores, prepare_sets, weight_sets
from fer_ray.models.configurations import Configuration
from fer_ray.models.svm import build_svm
from fer_ray.pipelines.training.make_bundle import choose_experiment, make_bundle
from fer_ray.pipelines.training.search import run_search
from fer_ray.pipelines.training.trials import run_trials
from fer_ray.settings.feature_sets import FEATURE_SETS, sets_of, widths_of
from fer_ray.settings.root import Execution
from fer_ray.settings.training import Kernel, SearchSettings, TrialSettings

UNION = "geometry+landmarks"


@pytest.mark.parametrize(
    ("kernel", "parameters"),
    [
        ("linear", {"C": 30.0}),
        ("linear", {"C": 30.0, "balanced": 1}),
        ("linear", {"C": 30.0, "set_weights": [0.5, 2.0]}),
        ("rbf", {"C": 5.0, "gamma": 0.7}),
        ("rbf", {"C": 5.0, "gamma": 0.7, "set_weights": [2.0, 1.0]}),
    ],
)
def test_equivalent_svm_settings(kernel: Kernel, parameters: dict[str, Any]) -> None:
    random = np.random.default_rng(4)
    labels = random.integers(0, 4, 90).astype(np.int8)
    width = sum(FEATURE_SETS[name].width for name in sets_of(UNION))
    features = random.normal(size=(90, width)) * np.arange(1, width + 1) + labels[:, None]
    scored = random.normal(size=(15, width)) * np.arange(1, width + 1) + 2
    classifier: Any = f"svm-{kernel}"
    searched = class_scores(
        Configuration(0, classifier, UNION, parameters),
        weight_sets(
            prepare_sets(features, scored, widths_of(UNION, width)),
            tuple(parameters.get("set_weights", ())),
        ),
        labels,
    )
    settings = equivalent_svm_settings({"feature_set": UNION, "parameters": parameters}, width)
    decided = build_svm(kernel, settings, width).fit(features, labels).decision_function(scored)
    np.testing.assert_allclose(decided, searched[:, :4], atol=0.02)


@pytest.mark.slow
def test_single_trials_are_bundled_only_by_name(drawn_frames: Path) -> None:
    for trials in (1, 3):
        settings = TrialSettings(feature_set="geometry", kernels=("linear",), n_trials=trials)
        run_trials(drawn_frames, settings, Execution(executor="in-process"), silent)
    items = {item.summary.n_trials: item for item in read_experiments(drawn_frames)}
    items[1] = replace(items[1], summary=replace(items[1].summary, test_accuracy=1.0))
    run = RunResults(pd.DataFrame(), {}, tuple(items.values()), {})
    single = items[1].summary.experiment
    assert choose_experiment(run, drawn_frames, None) == (items[3], 1)
    assert choose_experiment(run, drawn_frames, single) == (items[1], 1)
    with pytest.raises(UserError, match=f"too few to find the best one.*--experiment: {single}"):
        choose_experiment(replace(run, experiments=(items[1],)), drawn_frames, None)


@pytest.mark.slow
@pytest.mark.thorough
def test_bundle_of_a_search(run_dir: Path, local_ray: int, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(run_dir, out)
    search = SearchSettings(
        configurations=3, feature_sets=("landmarks",), classifiers=("svm-linear",), inner_folds=2
    )
    record = run_search(out, search, TrialSettings(n_trials=2), Execution(workers=2), silent)
    manifest = make_bundle(out, tmp_path / "model", record["experiment"]).bundle.manifest
    assert manifest.evidence.experiment == record["experiment"]
    assert manifest.model.feature_set == "landmarks"
    penalties = {one["parameters"]["C"] for one in record["chosen"]}
    assert manifest.model.parameters["C"] * 136 in [pytest.approx(one) for one in penalties]
    assert "the figures are those of the entire search" in manifest.training.how
