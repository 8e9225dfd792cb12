"""Images in the rows of a CSV file, as FER2013 publishes them: `emotion,pixels,Usage`.

Each row is an entry with the path `fer2013.csv#Training-123`: the part of the official split, and
the number of the row from 0. Its bytes are those of a PGM file.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.sources.label_table import DELIMITERS
from fer_ray.storage.paths import is_object

NO_PART = "row"  # in the path of a row without a part
HEADER_BYTES = 4096
CHUNK_BYTES = 1 << 24
NEWLINE = ord("\n")
SIDE = 48  # pixels, of the original images
SAMPLED_BYTES = 1 << 23  # of a table, whose rows show the size of its images
_ENTRY = re.compile(r"(?P<file>.+\.csv)#(?P<part>\w+)-(?P<row>\d+)", re.IGNORECASE)
_PIXELS = re.compile(rb"\d{1,9}(?: +\d{1,9}){3,}")


class PixelRow(NamedTuple):
    """A row of a table of pixels.

    Attributes:
        name: Last part of the entry's path.
        emotion: Content of the column emotion, empty if there is none.
        part: Content of the column Usage, empty if there is none.
    """

    name: str
    emotion: str
    part: str


def is_pixel_table(file: Path) -> bool:
    """Return whether a file is a CSV file with a column of pixels, whatever separates columns."""
    if file.suffix.lower() != ".csv" or is_object(file) or not file.is_file():
        return False
    with file.open("rb") as stream:
        header = stream.read(HEADER_BYTES).decode("utf-8-sig", "replace")
    return _find_delimiter(header.partition("\n")[0]) is not None


def is_entry(path: Path) -> bool:
    """Return whether a path is that of a row of a table of pixels."""
    return "#" in path.name and _ENTRY.fullmatch(path.name) is not None


def table_of(path: Path) -> Path:
    """The file that contains an entry."""
    return path.with_name(_match(path)["file"])


def list_rows(file: Path) -> Iterator[PixelRow]:
    """List the rows of a table of pixels, which are numbered by their lines.

    Raises:
        UserError: The file is not a table of pixels.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = _find_delimiter(stream.readline()) or DELIMITERS[0]
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=delimiter)
            columns = {name.strip().lower(): name for name in reader.fieldnames or ()}
            for row in reader:  # empty lines are left out
                part = (row.get(columns.get("usage", "")) or "").strip()
                number = f"{reader.line_num - 2:05}"
                name = f"{file.name}#{re.sub(r'[^A-Za-z]', '', part) or NO_PART}-{number}"
                yield PixelRow(name, (row.get(columns.get("emotion", "")) or "").strip(), part)
    except (UnicodeDecodeError, csv.Error) as problem:
        raise UserError(f"{file} cannot be read: {problem}. Use a CSV file in UTF-8.") from None


def read_entry(path: Path) -> bytes:
    """Read an entry as the bytes of a PGM file.

    Raises:
        OSError: The file or the row does not exist, or the row does not contain the pixels of a
            square image of the same size as most rows.
    """
    file, number = table_of(path), int(_match(path)["row"])
    info = file.stat()
    starts = _line_starts(str(file), info.st_mtime_ns, info.st_size)
    if number + 2 >= len(starts):
        raise FileNotFoundError(2, f"{file.name} has no row {number}")
    with file.open("rb") as stream:
        stream.seek(int(starts[number + 1]))  # after the header
        line = stream.read(int(starts[number + 2] - starts[number + 1]))
    values = _pixels(line)
    side = _most_common_side(str(file), info.st_mtime_ns, info.st_size)
    if len(values) != side * side:
        raise OSError(
            22, f"row {number} of {file.name} has {len(values)} pixels instead of {side}×{side}"
        )
    if any(value > 255 for value in values):
        raise OSError(22, f"row {number} of {file.name} has pixels above 255")
    return b"P5\n%d %d\n255\n" % (side, side) + bytes(values)


def _match(path: Path) -> "re.Match[str]":
    match = _ENTRY.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path} is not a row of a table of pixels")
    return match


def _find_delimiter(header: str) -> str | None:
    """What separates the columns of a header, one of which is `pixels`; None if none is."""
    for mark in DELIMITERS:
        if "pixels" in {name.strip(' \t\r\n"').lower() for name in header.split(mark)}:
            return mark
    return None


def _pixels(line: bytes) -> list[int]:
    found = _PIXELS.search(line)
    return [int(text) for text in found[0].split()] if found else []


@lru_cache(maxsize=2)
def _most_common_side(file: str, mtime_ns: int, size: int) -> int:
    """The side of most images of a table; `SIDE` if no row is a square image.

    It is that of the first rows. The other arguments detect changes.
    """
    with Path(file).open("rb") as stream:
        lines = stream.read(SAMPLED_BYTES).splitlines()
    rows = Counter(len(_pixels(line)) for line in lines[1:])
    squares = [count for count in rows if count and math.isqrt(count) ** 2 == count]
    most = max(squares, key=lambda count: (rows[count], count == SIDE**2, count), default=SIDE**2)
    return math.isqrt(most)


@lru_cache(maxsize=2)
def _line_starts(file: str, mtime_ns: int, size: int) -> NDArray[np.int64]:
    """Where each line of a file starts, and its end. The other arguments detect changes."""
    starts, offset = [np.zeros(1, np.int64)], 0
    with Path(file).open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            starts.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == NEWLINE) + offset + 1)
            offset += len(chunk)
    lines = np.concatenate(starts)
    return lines if lines[-1] == offset else np.append(lines, offset)
