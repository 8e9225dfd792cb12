"""The votes of FER+ for the images of FER2013."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fer_ray.errors import UserError
from fer_ray.settings.datasets import DATASETS
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.annotations.text_files import read_lines
from fer_ray.sources.emotion_words import parse_word
from fer_ray.sources.image_files import image_paths
from fer_ray.sources.labels import Label, add_unlisted, make_label
from fer_ray.sources.pixel_tables import is_pixel_table, list_rows
from fer_ray.sources.quality import Quality

VOTES_TABLE = "fer2013new.csv"
FER2013_TABLE = "fer2013.csv"
# The list of a part, without a header, in the folder of its images.
PART_LIST = "label.csv"
PARENTS = ("", "data/")
PART_FOLDERS = ("FER2013Train", "FER2013Valid", "FER2013Test")
NAME = "Image name"
VOTES = (
    *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    *("unknown", "NF"),  # no emotion
)
LIST_COLUMNS = (NAME, "box", *VOTES)


class Votes(NamedTuple):
    """The votes for one image.

    Attributes:
        image: Its name.
        line: File and number of the line, for messages.
        votes: Number of votes by the name of their column. None: the line cannot be parsed.
    """

    image: str
    line: str
    votes: dict[str, int] | None

    def emotion(self) -> int | None:
        """The class code with more than half of the votes, or None."""
        votes = self.votes or {}
        winner = max(votes, key=lambda name: votes[name], default=None)
        if winner is None or 2 * votes[winner] <= sum(votes.values()):
            return None
        return parse_word(winner)


def part_lists(root: Path) -> list[Path]:
    """The lists of the parts of FER+, each in the folder of its images."""
    files = [root / f"{parent}{name}" / PART_LIST for parent in PARENTS for name in PART_FOLDERS]
    return [file for file in files if file.is_file()]


def read_ferplus(
    root: Path, selection: Selection, quality: Quality, left_out: Quality
) -> dict[str, Label]:
    """Read the votes of FER+ for images of FER2013.

    An image is labelled if more than half of its votes are for one emotion.

    Args:
        root: The source.
        selection: Whether to include hidden files.
        quality: Counts irregular labels.
        left_out: Counts files that are not images.

    Raises:
        UserError: The votes are missing or not those of FER+, or there are no images.
    """
    if (root / VOTES_TABLE).is_file():
        return _read_table(root, selection, quality, left_out)
    if lists := part_lists(root):
        return _read_lists(root, lists, selection, quality, left_out)
    raise UserError(
        f"{root} contains no votes of FER+: {VOTES_TABLE} is missing. FER+ needs "
        f"{DATASETS['ferplus'].needs}. Add the file to {root}."
    )


def _read_table(
    root: Path, selection: Selection, quality: Quality, left_out: Quality
) -> dict[str, Label]:
    """Labels of the files with the names in the table, or of the rows of `fer2013.csv`."""
    pixels = root / FER2013_TABLE
    quality.use_file(VOTES_TABLE)
    records = [*_table_votes(root / VOTES_TABLE)]
    rows: list[str] = []
    if is_pixel_table(pixels):
        quality.use_file(FER2013_TABLE)
        rows = [row.name for row in list_rows(pixels)]
    paths = [*image_paths(root, left_out, selection.hidden_files)]
    by_name = {PurePosixPath(path).name: path for path in paths}
    same_rows = len(rows) == len(records)
    if not same_rows and not any(record.image in by_name for record in records):
        raise UserError(_missing_images(root, len(records), len(rows)))
    labels: dict[str, Label] = {}
    for number, record in enumerate(records):
        path = by_name.get(record.image) or (rows[number] if same_rows else None)
        _add(record, path, labels, quality)
    add_unlisted(paths, labels, quality)
    return labels


def _missing_images(root: Path, votes: int, rows: int) -> str:
    if rows:
        return (
            f"{root}: {FER2013_TABLE} has {rows} rows, but {VOTES_TABLE} has {votes}. Each row "
            "must be about the same image: use the complete files, in their original order."
        )
    return (
        f"{root} contains no images of FER+: put the images, or {FER2013_TABLE}, next to "
        f"{VOTES_TABLE}."
    )


def _read_lists(
    root: Path, lists: list[Path], selection: Selection, quality: Quality, left_out: Quality
) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    for file in lists:
        quality.use_file(file.relative_to(root).as_posix())
    paths = [*image_paths(root, left_out, selection.hidden_files)]
    existing = set(paths)
    for file in lists:
        folder = file.parent.relative_to(root)
        for record in _list_votes(file):
            path = (folder / record.image).as_posix()
            _add(record, path if path in existing else None, labels, quality)
    add_unlisted(paths, labels, quality)
    return labels


def _add(record: Votes, path: str | None, labels: dict[str, Label], quality: Quality) -> None:
    """Add the label of an image, and count what is irregular about it."""
    if record.votes is None:
        quality.note("unparsed_line", record.line)
        return
    if path is None:
        kind = "unknown_path" if record.image else "missing_path"
        quality.note(kind, record.image or record.line)
        return
    code = record.emotion()
    if code is None:
        quality.note("no_majority", path)
    labels[path] = make_label(code)


def _table_votes(file: Path) -> Iterator[Votes]:
    lines = read_lines(file)
    header = [name.strip() for name in next(lines, (0, list[str]()))[1]]
    if missing := [name for name in (NAME, *VOTES) if name not in header]:
        raise UserError(
            f"{file} is not the table of votes of FER+: it has no column {missing[0]}. Download it "
            "again."
        )
    for number, cells in lines:
        yield _parse(cells, header, f"{file.name}, line {number}")


def _list_votes(file: Path) -> Iterator[Votes]:
    for number, cells in read_lines(file):
        yield _parse(cells, list(LIST_COLUMNS), f"{file.parent.name}/{file.name}, line {number}")


def _parse(cells: list[str], columns: list[str], line: str) -> Votes:
    record = dict(zip(columns, cells, strict=False))
    image = record.get(NAME, "").strip()
    try:
        return Votes(image, line, {name: int(record[name] or 0) for name in VOTES})
    except (KeyError, ValueError):
        return Votes(image, line, None)
