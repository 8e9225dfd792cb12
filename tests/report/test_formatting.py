import math
from dataclasses import replace

import pytest

from fer_ray.evaluation import experiment_labels
from fer_ray.evaluation.experiment_labels import describe_splits, protocol_rank
from fer_ray.report.text import formatting
from fer_ray.vocabulary import EMOTIONS
from tests.report.test_verdict import experiment

LONG = "search-random-seed=3-configurations=9-feature_sets=" + ",".join(["hog+landmarks"] * 20)
SUMMARY = experiment("svm-linear", "subject-10fold", 0.8).summary


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formatting.percent(0.83876), "83.9%"),
        (formatting.percent(math.nan), "–"),
        (formatting.interval((0.812, 0.88)), "81.2–88.0%"),
        (formatting.interval((math.nan, math.nan)), "none"),
        (formatting.interval((None, None)), "none"),
        (formatting.signed_interval((math.nan, math.nan)), "none"),
        (formatting.with_sd(0.83876, 0.0361), "83.9 ± 3.6%"),
        (formatting.with_sd(0.83876, math.nan), "83.9%"),
        (formatting.signed_interval((-0.008, 0.05)), "−0.8 to +5.0"),
        (formatting.signed_interval((-0.0001, 0.0001)), "0.0 to 0.0"),
        (formatting.duration(0.123), "0.12 s"),
        (formatting.duration(59.6), "60 s"),
        (formatting.duration(185), "3 min 05 s"),
        (formatting.duration(7260), "2 h 01 min"),
        (
            formatting.mid_sentence("Linear SVM on reference features"),
            "linear SVM on reference features",
        ),
        (formatting.mid_sentence("RBF SVM on reference features"), "RBF SVM on reference features"),
    ],
)
def test_formats(text, expected):
    assert text == expected


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
    assert experiment_labels.describe_method(replace(SUMMARY, **changes)) == label


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
        ("given-folds-12ab34cd", EMOTIONS, "", "10 folds given as a file (12ab34cd)"),
        ("given-trials-12ab34cd", EMOTIONS, "", "10 trials given as a file (12ab34cd)"),
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


def audit(**counts):
    kinds = dict.fromkeys(("subject", "sequence", "content", "near_duplicate"), 0)
    return {"test_images": 430, "protocol": "random", "splits": [], **kinds, **counts}


@pytest.mark.parametrize(
    ("audited", "text"),
    [
        (audit(subject=410, near_duplicate=167),
         "of 430 test images over all splits, 410 show a subject who is also in training, 167 look "
         "the same as an image in training."),
        (audit(),
         "none shares its subject, sequence, content or appearance with a training image."),
        (audit(subject=None, sequence=None, content=3),
         "3 are, byte for byte, an image in training; subject and sequence unknown."),
    ],
)  # fmt: skip
def test_leakage_summary(audited, text):
    assert formatting.leakage_summary(audited).endswith(text)
