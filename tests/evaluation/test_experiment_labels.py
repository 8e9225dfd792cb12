from dataclasses import replace

import pytest

from fer_ray.evaluation.experiments.experiment_labels import (
    describe_method,
    describe_splits,
    protocol_rank,
)
from fer_ray.settings.training import RECOMMENDED
from fer_ray.vocabulary import EMOTIONS
from tests.evaluation.simulated_experiments import experiment

LONG = "search-random-seed=3-configurations=9-feature_sets=" + ",".join(["hog+landmarks"] * 20)
SUMMARY = experiment("svm-linear", "subject-10fold", 0.8).summary


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "Linear SVM on reference features"),
        (
            {"classifier": "search", "feature_set": "chosen"},
            "Searched classifier on chosen features",
        ),
        (
            {"experiment": "svm-linear-hog-random-n_trials=3-scale=standard-tol=1e-05-seed=2",
             "protocol": "random"},
            "Linear SVM on scaled reference features (tol 1e-05)",
        ),
        (
            {"experiment": "search-loso-inner_folds=3-feature_sets=hog,geometry-seed=2",
             "protocol": "loso"},
            "Linear SVM on reference features (inner folds 3, feature sets hog/geometry, seed 2)",
        ),
        (
            {"experiment": "svm-linear-hog+landmarks-loso-scale=equal", "protocol": "loso"},
            "Linear SVM on equally scaled reference features",
        ),
        (
            {"experiment": f"svm-linear-{RECOMMENDED['feature_set']}-loso-scale=equal-C=auto"
                           "-class_weight=balanced-mirror=True-tol=1e-05",
             "feature_set": RECOMMENDED["feature_set"], "protocol": "loso"},
            "Recommended recipe (tol 1e-05)",
        ),
        (
            {"experiment": f"svm-linear-{RECOMMENDED['feature_set']}+blendshapes-loso-scale=equal"
                           "-C=auto-class_weight=balanced-mirror=True",
             "feature_set": f"{RECOMMENDED['feature_set']}+blendshapes", "protocol": "loso"},
            "Recommended recipe with blendshapes",
        ),
        (
            {"experiment": f"svm-linear-{RECOMMENDED['feature_set']}-loso-scale=equal-set_weights="
                           "1.0,1.0,1.0,1.0,0.5,0.5-C=auto-class_weight=balanced-mirror=True",
             "feature_set": "hog8+hog", "protocol": "loso"},
            "Linear SVM on equally scaled hog8+hog features (set weights "
            "1.0/1.0/1.0/1.0/0.5/0.5, C auto, class weight balanced, mirror True)",
        ),
        (
            {"experiment": f"{LONG[:120]}-0123456789ab", "protocol": "random"},
            "Linear SVM on reference features (configurations 9, and more 0123456789ab)",
        ),
        (
            {"experiment": "head-hog-loso-seed=2-n_trials=3", "protocol": "another-source"},
            "Linear SVM on reference features",
        ),
    ],
)  # fmt: skip
def test_method_labels(changes, label):
    assert describe_method(replace(SUMMARY, **changes)) == label


@pytest.mark.parametrize(
    ("protocol", "classes", "settings", "text"),
    [
        ("loso", EMOTIONS, "", "leave one subject out, 10 folds"),
        ("random", EMOTIONS[:6], "", "10 random splits, 6 classes tested"),
        ("random", EMOTIONS[1:], "-classes=7-seed=4",
         "10 random splits, seed 4, 7 classes without neutral"),
        ("random", EMOTIONS[1:6], "-classes=7", "10 random splits, 5 of 7 classes tested"),
        ("subject-10fold", EMOTIONS[:2] + EMOTIONS[3:], "-classes=7n",
         "10 folds by subject, 7 classes without contempt"),
        ("loso", EMOTIONS, "-test_share=0.1", "leave one subject out, 10 folds"),
        ("random", EMOTIONS, "-test_share=0.1",
         "10 random splits, 10% of each class in test"),
        ("given-folds-12ab34cd", EMOTIONS, "", "10 folds from a file (12ab34cd)"),
        ("given-trials-12ab34cd", EMOTIONS, "", "10 trials from a file (12ab34cd)"),
        ("another-source", EMOTIONS, "-seed=4", "another source"),
    ],
)  # fmt: skip
def test_split_labels(protocol, classes, settings, text):
    name = f"svm-linear-reference-{protocol}{settings}"
    summary = replace(SUMMARY, experiment=name, protocol=protocol, classes=tuple(classes))
    assert describe_splits(summary) == text


def test_protocol_order():
    names = ["elsewhere", "random", "loso", "subject-10fold"]
    assert sorted(names, key=protocol_rank) == names[::-1]
