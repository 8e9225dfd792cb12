"""Words and numbers that stand for an emotion in label files and folder names."""

import re
import unicodedata
from difflib import get_close_matches
from functools import lru_cache

from fer_ray.settings.label_codes import DEFAULT_CODES, LABEL_CODES, LabelCodes
from fer_ray.vocabulary import EMOTIONS

# Words for each emotion besides its name: adjectives and nouns that data sets use.
SYNONYMS = {
    "neutral": ("neutrality", "expressionless"),
    "anger": ("angry",),
    "contempt": ("contemptuous",),
    "disgust": ("disgusted",),
    "fear": ("afraid", "fearful", "scared"),
    "happy": ("happiness", "joy", "joyful"),
    "sadness": ("sad",),
    "surprise": ("surprised",),
}
WORDS = {word: name for name in EMOTIONS for word in (name, *SYNONYMS[name])}
# Words next to an emotion that do not change it, as in `happy faces` or `Anger - Copy`.
FILLERS = frozenset(
    (
        *("class", "copy", "emotion", "emotions", "expression", "expressions", "face", "faces"),
        *("frames", "image", "images", "img", "imgs", "label"),
        *("photo", "photos", "picture", "pictures"),
    )
)
# Spellings of a missing value, in lower case.
MISSING = frozenset(
    (
        *("", "-", "--", "---", ".", "?", "??", "#", "_", "–", "—"),
        *("na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "null", "(null)", "#null!", "nil"),
        *("none", "missing", "undefined", "unknown", "not available", "not applicable"),
        *("unlabelled", "unlabeled", "uncertain", "no-face", "no face", "noface"),
        *("not labelled", "not labeled", "no label", "blank", "(blank)", "tbd", "unk"),
        *("nat", "-nan", "k.a.", "k. a.", "n.n.", "n. n."),
    )
)
SIMILARITY = 0.8  # of two words, by difflib, from which one may be a misspelling of the other
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER_MARKS = " \t\"'`#;:()[]{}"
_DECIMAL_COMMA = re.compile(r"([+-]?\d+),(\d+)")


def clean_text(text: str) -> str:
    """A cell of a label file without surrounding spaces, byte order marks and quotation marks."""
    return unicodedata.normalize("NFC", text).strip("\ufeff\u200b \t\r\n\"'").strip()


def is_missing(text: str) -> bool:
    """Return whether a cell is empty or a spelling of a missing value, such as `NaN` or `-`."""
    return text.strip().lower() in MISSING


def parse_code(text: str, codes: LabelCodes = DEFAULT_CODES) -> int | None:
    """Parse a number such as `   3.0000000e+00` into a class code.

    Args:
        text: The number.
        codes: The codes that it is one of.

    Returns:
        The position of the emotion in `EMOTIONS`, None if the number is not a valid code.
    """
    number = _DECIMAL_COMMA.sub(r"\1.\2", text.strip(_NUMBER_MARKS)).rstrip(".,")
    try:
        value = float(number)
    except ValueError:
        return None
    emotion = LABEL_CODES[codes].get(int(value)) if value.is_integer() else None
    return None if emotion is None else EMOTIONS.index(emotion)


@lru_cache(maxsize=65_536)
def parse_word(text: str) -> int | None:
    """Parse a name such as `happy`, `Happiness`, `01_fear` or `Anger (1)` into a class code.

    Digits, marks and words such as `faces` are ignored; any other word, a second emotion or a
    question mark makes the name ambiguous.

    Returns:
        The position of the emotion in `EMOTIONS`, None if the text is not the name of one.
    """
    words = _words(text)
    emotions = {WORDS.get(word) for word in words}
    if len(emotions) != 1 or "?" in text:
        return None
    [emotion] = emotions
    return EMOTIONS.index(emotion) if emotion else None


def parse_emotion(text: str, codes: LabelCodes = DEFAULT_CODES) -> int | None:
    """Parse a name (`happy`, `Happiness!`) or a number (`5`) into a class code, or None."""
    code = parse_word(text)
    return parse_code(text, codes) if code is None else code


@lru_cache(maxsize=65_536)
def suggest_emotion(text: str) -> str | None:
    """The emotion word that a name may be a misspelling of, such as `surprise` for `suprise`."""
    words = _words(text)
    if len(words) != 1 or parse_word(text) is not None:
        return None
    return next(iter(get_close_matches(words[0], WORDS, 1, SIMILARITY)), None)


def _words(text: str) -> list[str]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word for word in words if word not in FILLERS]
