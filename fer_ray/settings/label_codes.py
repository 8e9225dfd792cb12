"""The numbers that published data sets use for emotions.

| codes | source |
|---|---|
| `ckplus` | Lucey et al., The Extended Cohn-Kanade Dataset (CK+), CVPR 2010 workshops |
| `fer2013` | Goodfellow et al., Challenges in representation learning, ICONIP 2013 |
| `ferplus` | Barsoum et al., Training deep networks for facial expression recognition, ICMI 2016 |
| `rafdb` | Li et al., Reliable crowdsourcing and deep locality-preserving learning, CVPR 2017 |
| `affectnet` | Mollahosseini et al., AffectNet, IEEE Trans. Affective Computing 2019 |
"""

from typing import Literal

from fer_ray.vocabulary import EMOTIONS

LabelCodes = Literal["ckplus", "fer2013", "ferplus", "rafdb", "affectnet"]
DEFAULT_CODES: LabelCodes = "ckplus"

# The emotion of each code, by the name of the codes. Codes of other classes are left out.
LABEL_CODES: dict[LabelCodes, dict[int, str]] = {
    "ckplus": dict(enumerate(EMOTIONS)),
    # 7 occurs in extended copies only.
    "fer2013": dict(
        enumerate(
            ("anger", "disgust", "fear", "happy", "sadness", "surprise", "neutral", "contempt")
        )
    ),
    # 8 is an unknown emotion, 9 is not a face.
    "ferplus": dict(
        enumerate(
            ("neutral", "happy", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
        )
    ),
    "rafdb": dict(
        enumerate(("surprise", "fear", "disgust", "happy", "sadness", "anger", "neutral"), start=1)
    ),
    # 8 is not one of them, 9 is uncertain, 10 is not a face.
    "affectnet": dict(
        enumerate(
            ("neutral", "happy", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
        )
    ),
}


def describe_range(codes: LabelCodes) -> str:
    """The first and the last code, such as `0 to 7`."""
    return f"{min(LABEL_CODES[codes])} to {max(LABEL_CODES[codes])}"


def describe_codes(codes: LabelCodes) -> str:
    """The codes with their emotions, such as `0 anger, 1 disgust, …`."""
    return ", ".join(f"{code} {emotion}" for code, emotion in LABEL_CODES[codes].items())
