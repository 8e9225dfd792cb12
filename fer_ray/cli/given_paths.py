"""Paths in messages as the user wrote them, although jobs use absolute ones."""

import re
from pathlib import Path

from fer_ray.storage.paths import without_dots

_written: dict[str, str] = {}  # by absolute path


def remember(path: Path, text: str) -> None:
    """Remember how the user wrote the path of an option or argument."""
    _written[str(path)] = _written[str(without_dots(path))] = text


def as_given(message: object) -> str:
    """Replace remembered paths in a message with the text that the user wrote.

    Examples:
        >>> remember(Path("/home/ada/runs/ck"), "runs/ck")
        >>> as_given("report: /home/ada/runs/ck/report/index.html")
        'report: runs/ck/report/index.html'
    """
    if not _written:
        return str(message)
    paths = "|".join(re.escape(path) for path in sorted(_written, key=len, reverse=True))
    complete = rf"(?<![\w/.-])({paths})(?![\w-]|\.\w)"
    return re.sub(complete, lambda match: _written[match[1]], str(message))
