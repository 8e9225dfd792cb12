"""What to tell a user whose source holds nothing of what was asked for."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from fer_ray.sources import ckplus, photographs
from fer_ray.sources.walk import IMAGE_SUFFIXES
from fer_ray.vocabulary import EMOTIONS

MOST_NAMED = 8  # folders and endings of files


def looked_for_and_found(data: Path, summary: dict[str, Any]) -> str:
    """What was looked for, what is there, and what was odd about it: a line each.

    Args:
        data: The source.
        summary: Its figures and quality, as `Listing.summary` has them.
    """
    lines = [f"Looked for: {'; or '.join(_wanted(data))}."]
    if data.is_dir():
        lines.append(f"Found: {_contents(data)}; {summary['images_found']} images in all.")
    lines += [f"Noticed: {one['count']} {one['meaning']}; such as {one['examples'][0]}"
              for one in summary["quality"]]  # fmt: skip
    return "\n".join(lines)


def _wanted(data: Path) -> list[str]:
    table = (
        f"a column {' or '.join(photographs.PATH_COLUMNS)} with paths below the CSV file's "
        "folder, and "
        f"a column {' or '.join(photographs.LABEL_COLUMNS)}"
    )
    if data.is_file():
        return [table]
    return [
        f"a CK+ tree, that is a folder {' or '.join(ckplus.IMAGE_ROOTS)} with subjects (S005, …) "
        f"in it, down to {ckplus.SEARCH_DEPTH} folders deep, and beside it its labels in a folder "
        f"{' or '.join(name.capitalize() for name in ckplus.LABEL_ROOTS)}",
        f"a {photographs.LABELS_FILE} with {table}",
        f"images ({', '.join(sorted(IMAGE_SUFFIXES))}) in folders named after emotions "
        f"({', '.join(EMOTIONS)})",
    ]


def _contents(folder: Path) -> str:
    """The folders and files directly in `folder`, in words."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    folders = [entry.name for entry in entries if entry.is_dir()]
    files = Counter(Path(entry.name).suffix or entry.name for entry in entries
                    if not entry.is_dir())  # fmt: skip
    kinds = [f"{count} × {kind}" for kind, count in files.most_common(MOST_NAMED)]
    return f"{_named('folder', folders)}, {_named('file', kinds)}"


def _named(what: str, names: list[str]) -> str:
    if not names:
        return f"no {what}s"
    more = " …" if len(names) > MOST_NAMED else ""
    return f"the {what}s {', '.join(names[:MOST_NAMED])}{more}"
