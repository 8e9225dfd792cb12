import math

import pytest

from fer_ray.report import wording


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
        (wording.method("head", "vgg16"), "head on vgg16 features"),
    ],
)
def test_numbers_and_names_read_as_a_person_writes_them(text, expected):
    assert text == expected


def test_protocols_that_keep_subjects_apart_come_before_random_splits_and_unknown_ones_last():
    names = ["elsewhere", "random", "loso", "subject-10fold"]
    assert sorted(names, key=wording.protocol_rank) == names[::-1]
