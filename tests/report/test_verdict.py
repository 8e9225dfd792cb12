import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fer_ray.evaluation.comparison import compare
from fer_ray.evaluation.experiments.results import ExperimentResults, RunResults
from fer_ray.evaluation.experiments.summary import summarise
from fer_ray.report.text.verdict import derive_verdict, paired_difference
from tests.evaluation.simulated_experiments import (
    FOLDS,
    LINEAR,
    POLY,
    RBF,
    TWO_ALIKE,
    experiment,
)


def run_of(experiments, synthetic=False, labelled=327):
    data = {
        "root": "albums/tree",
        "synthetic": synthetic,
        "layout": "ckplus",
        "labelled_sequences": labelled,
    }
    return RunResults(pd.DataFrame(), {"data": data}, tuple(experiments), {})


CLEAR_LEAD = [experiment(LINEAR, FOLDS, 0.9, seed=1), experiment(POLY, FOLDS, 0.6, seed=2)]


@pytest.mark.parametrize(
    ("run", "headline", "said", "unsaid"),
    [
        pytest.param(
            run_of([]), "No verdict yet", ["No experiment has been run"], [], id="nothing-ran"
        ),
        pytest.param(
            run_of([experiment(LINEAR, FOLDS, 0.8)]),
            "Linear SVM on reference features: nothing to compare it with",
            ["On CK+ (10 folds by subject), the linear SVM", "accuracy of 80.0% (",
             "no other experiment was tested on the same images (95% intervals: bootstrap"],
            ["leads"],
            id="one-experiment",
        ),
        pytest.param(
            run_of(CLEAR_LEAD),
            "Linear SVM on reference features leads",
            ["90.0% (", "and the polynomial SVM on reference features one of 60.0% (",
             "paired difference of 30.0 points (+", "excludes zero", "bootstrap over subjects"],
            ["too close", "training"],
            id="clear-lead",
        ),
        pytest.param(
            run_of(TWO_ALIKE),
            "Too close to call",
            ["80.0%", "77.5%", "paired difference of 2.5 points (−", "includes zero"],
            ["leads"],
            id="too-close",
        ),
        pytest.param(
            run_of([experiment(LINEAR, FOLDS, 0.8), experiment(POLY, FOLDS, 0.8)]),
            "Too close to call",
            ["paired difference of 0.0 points (0.0 to 0.0) includes zero"],
            ["leads"],
            id="the-same-answers",
        ),
        pytest.param(
            run_of([experiment(LINEAR, "random", 0.9), experiment(POLY, "random", 0.5, seed=2)]),
            "Linear SVM on reference features leads",
            ["(10 random splits)", "excludes zero, but 90.0% of the test images show a "
             "subject who is also in training", "(no interval: all trials have the same accuracy; "
             "interval of the difference: corrected resampled t over trials)"],
            [],
            id="random-splits-share-subjects",
        ),
        pytest.param(
            run_of([experiment(LINEAR, "random", 0.9, shared=math.nan)]),
            "Linear SVM on reference features: nothing to compare it with",
            ["but the same person may be in both training and test"],
            ["nan"],
            id="random-splits-of-unknown-subjects",
        ),
        pytest.param(
            run_of([experiment(LINEAR, "random", 0.9, n_trials=1),
                    experiment(POLY, "random", 0.5, n_trials=1, seed=2)]),
            "Too close to call",
            ["(1 random split)", "a difference of 40.0 points may be due to chance",
             "(no interval: a single trial)"],
            ["nan", "leads"],
            id="a-single-trial",
        ),
        pytest.param(
            run_of([experiment(LINEAR, "random", 0.8), experiment(POLY, "random", 0.8, seed=2)]),
            "Too close to call",
            ["includes zero; in addition, 90.0% of the test images show a subject"],
            ["but"],
            id="too-close-and-subjects-are-shared",
        ),
        pytest.param(
            run_of([experiment(LINEAR, FOLDS, 0.9), experiment(POLY, FOLDS, 0.5, images="other")]),
            "Linear SVM on reference features: nothing to compare it with",
            ["no other experiment was tested on the same images"],
            ["paired", "polynomial"],
            id="other-test-images",
        ),
        pytest.param(
            run_of([experiment(POLY, "random", 0.95, n_trials=2, settings="-n_trials=2"),
                    experiment(LINEAR, "random", 0.8)]),
            "Linear SVM on reference features: nothing to compare it with",
            ["On CK+ (10 random splits), the linear SVM on reference features has"],
            ["95.0", "polynomial"],
            id="few-trials-never-lead-over-more",
        ),
        pytest.param(
            run_of([experiment(LINEAR, FOLDS, 0.8, classes=range(6))]),
            "Linear SVM on reference features: nothing to compare it with",
            ["(10 folds by subject, 6 classes tested)"],
            [],
            id="classes-that-are-not-tested",
        ),
        pytest.param(
            run_of([experiment(RBF, "random", 0.975), *CLEAR_LEAD]),
            "Linear SVM on reference features leads",
            ["10 folds by subject"],
            ["RBF", "97.5"],
            id="subject-disjoint-protocols-lead",
        ),
        pytest.param(
            run_of(CLEAR_LEAD, synthetic=True),
            "Linear SVM on reference features leads",
            ["On synthetic faces (10 folds by subject)"],
            ["CK+"],
            id="synthetic",
        ),
        pytest.param(
            run_of(CLEAR_LEAD, labelled=216),
            "Linear SVM on reference features leads",
            ["On “tree” (10 folds by subject)"],
            [],
            id="ckplus-layout-only",
        ),
    ],
)  # fmt: skip
def test_verdict(run, headline, said, unsaid):
    verdict = derive_verdict(run)
    assert verdict.headline == headline
    assert [part for part in said if part not in verdict.sentence] == []
    assert [part for part in unsaid if part in verdict.sentence] == []
    assert verdict.sentence.count(". ") == 0
    assert verdict.sentence.endswith(".")


@pytest.mark.parametrize(
    ("run", "note"),
    [
        (run_of(TWO_ALIKE, synthetic=True), "synthetic"),
        (run_of([*TWO_ALIKE, experiment(LINEAR, "random", 0.8)]), "90.0% of the test images"),
        (run_of([*TWO_ALIKE, experiment(RBF, FOLDS, 0.7)]), "The best of 3 models was selected"),
    ],
)
def test_verdict_notes(run, note):
    assert any(note in text for text in derive_verdict(run).notes)


def test_notes_on_imbalance_and_majority():
    lead = experiment(LINEAR, FOLDS, 0.8)
    labels = np.where(np.arange(400) < 360, 0, 1)
    answers = lead.predictions.assign(label=labels, predicted=0)
    run = run_of([ExperimentResults(lead.trials, answers, summarise(lead.trials, answers))])
    paradox, nothing = derive_verdict(run).notes
    assert "always predicting “neutral” would already score 90.0%" in paradox
    assert "macro recall of the best model is 50.0%" in paradox
    assert "may have learned nothing: always predicting “neutral” would score 90.0" in nothing


@pytest.mark.parametrize("missing", [math.nan, None])
def test_verdict_without_intervals(missing, monkeypatch):
    def without(item):
        return replace(item, summary=replace(item.summary, interval=(missing, missing)))

    none = replace(compare(*((item.trials, item.predictions) for item in CLEAR_LEAD)),
                   interval=(missing, missing))  # fmt: skip
    monkeypatch.setattr("fer_ray.report.text.verdict.compare", lambda *_: none)
    verdict = derive_verdict(run_of([without(item) for item in CLEAR_LEAD]))
    assert verdict.headline == "Too close to call"
    assert "a difference of 30.0 points may be due to chance" in verdict.sentence
    assert "(no interval)" in verdict.sentence
    assert "nan" not in " ".join([verdict.sentence, *verdict.notes])


def test_negative_paired_difference():
    worse = experiment(LINEAR, "random", 0.5, seed=1)
    better = experiment(POLY, "random", 0.9, seed=2)
    paired = paired_difference(worse, better)
    assert paired.difference == pytest.approx(-0.4)
    assert paired.interval[0] <= -0.4 <= paired.interval[1] < 0
    assert paired.conclusive


def test_paired_difference_of_unknown_subjects():
    first, second = (
        experiment(name, "given-folds-1", accuracy, seed=seed)
        for name, accuracy, seed in ((LINEAR, 0.9, 1), (POLY, 0.6, 2))
    )
    for item in (first, second):
        item.predictions["subject"] = None
    paired = paired_difference(first, second)
    assert paired.method == "bootstrap over images"
    assert paired.interval[0] < paired.difference < paired.interval[1]
