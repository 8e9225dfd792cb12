"""Match paths that no file has to the file that they name in another spelling."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath


def match_paths(wanted: Iterable[str], existing: Iterable[str]) -> dict[str, str]:
    r"""Find the files that paths name in another spelling.

    Separators of Windows (`a\b.jpg`) and Unicode normal forms differ least, then case, then a
    missing extension. A path is matched if exactly one file has it in the least different spelling
    that any file has.

    Args:
        wanted: Paths that no file has.
        existing: Paths of all files, read once.

    Returns:
        The path of the file for each path that could be matched.

    Examples:
        >>> match_paths(["A\\1.JPG", "b/2", "c.png"], ["a/1.jpg", "b/2.png", "d.png"])
        {'A\\1.JPG': 'a/1.jpg', 'b/2': 'b/2.png'}
    """
    keys = {path: _keys(path) for path in wanted}
    needed = {key for spellings in keys.values() for key in spellings}
    found: dict[tuple[int, str], set[str]] = defaultdict(set)
    for path in existing:
        spellings = _keys(path)
        without_extension = (2, spellings[1][1].removesuffix(PurePosixPath(path).suffix.casefold()))
        for key in (*spellings[:2], without_extension):
            if key in needed:
                found[key].add(path)
    matched = {}
    for path, spellings in keys.items():
        candidates: set[str] = next((found[key] for key in spellings if key in found), set())
        if len(candidates) == 1:
            [matched[path]] = candidates
    return matched


def _keys(path: str) -> tuple[tuple[int, str], ...]:
    """The path in each spelling, from the least different one."""
    plain = str(PurePosixPath(unicodedata.normalize("NFC", path.replace("\\", "/"))))
    folded = unicodedata.normalize("NFC", plain.casefold())
    return (0, plain), (1, folded), (2, folded)
