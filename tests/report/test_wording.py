import math
from dataclasses import replace

import pytest

from fer_ray.report import wording
from tests.report.test_verdict import experiment

SUMMARY = experiment("svm-linear", "subject-10fold", 0.8).summary


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (wording.percent(0.83876), "83.9\u00a0%"),
        (wording.percent(math.nan), "–"),
        (wording.span((0.812, 0.88)), "81.2–88.0\u00a0%"),
        (wording.span((math.nan, math.nan)), "–"),
        (wording.signed_span((-0.008, 0.05)), "−0.8 to +5.0"),
        (wording.signed_span((-0.0001, 0.0001)), "0.0 to 0.0"),
        (wording.duration(0.123), "0.12 s"),
        (wording.duration(59.6), "60 s"),
        (wording.duration(185), "3 min 05 s"),
        (wording.duration(7260), "2 h 01 min"),
        (
            wording.mid_sentence("Linear SVM on reference features"),
            "linear SVM on reference features",
        ),
        (wording.mid_sentence("RBF SVM on reference features"), "RBF SVM on reference features"),
    ],
)
def test_numbers_and_names_read_as_a_person_writes_them(text, expected):
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
            {"experiment": "svm-linear-hog-random-n_trials=3-scale=standard-tol=1e-05-seed=2"},
            "Linear SVM on reference features (scale standard, tol 1e-05)",
        ),
    ],
)
def test_a_method_is_named_with_what_sets_it_apart(changes, label):
    assert wording.method(replace(SUMMARY, **changes)) == label


@pytest.mark.parametrize(
    ("protocol", "classes", "title"),
    [
        ("loso", 8, "Leave one subject out"),
        ("random", 6, "Random splits, 6 classes"),
        ("given-folds-12ab34cd", 8, "Folds given as a file"),
        ("given-trials-12ab34cd", 7, "Trials given as a file, 7 classes"),
    ],
)
def test_a_protocol_is_named_with_the_number_of_its_classes(protocol, classes, title):
    made = replace(SUMMARY, protocol=protocol, classes=SUMMARY.classes[:classes])
    assert wording.title(made) == title


def test_protocols_that_keep_subjects_apart_come_before_random_splits_and_unknown_ones_last():
    names = ["elsewhere", "random", "loso", "subject-10fold"]
    assert sorted(names, key=wording.protocol_rank) == names[::-1]
