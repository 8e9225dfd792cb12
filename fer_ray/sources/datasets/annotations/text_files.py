"""Read the text files and CSV files of published data sets."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from fer_ray.errors import UserError, error_text
from fer_ray.sources.label_table import decode_text


def read_text(file: Path) -> str:
    """Read a file in UTF-8, or UTF-16 with a byte order mark.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return decode_text(file.read_bytes())
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(
            f"{file} cannot be read: {error_text(problem)}. Restore it from the data set."
        ) from None


def read_lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line of a CSV file with its number, from 1; empty lines are left out.

    Raises:
        UserError: It cannot be read.
    """
    reader = csv.reader(io.StringIO(read_text(file), newline=""))
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as problem:
        raise UserError(
            f"{file} cannot be read: {problem}. Restore it from the data set."
        ) from None
