import math

import pytest

from fer_ray.report.text import formatting


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
        (formatting.points(0.0375), "+3.8"),
        (formatting.points(0.9 - 0.8625), "+3.8"),
        (formatting.points(-0.0375), "−3.8"),
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
