"""The explanation for a source without usable images: what was expected, and what was found."""

from collections import Counter
from pathlib import Path
from typing import Any

from fer_ray.settings.datasets import DatasetName
from fer_ray.sources.datasets import ckplus_roots
from fer_ray.sources.image_files import IMAGE_SUFFIXES, scan_folder
from fer_ray.sources.label_table import LABEL_COLUMNS, LABELS_FILE, NAMED, PATH_COLUMNS
from fer_ray.vocabulary import EMOTIONS

MAX_NAMED = 8  # folders, and file extensions
_CKPLUS = (
    f"the CK+ layout: a folder {' or '.join(ckplus_roots.IMAGE_ROOTS)} of subjects (S005, …), "
    f"at most {ckplus_roots.SEARCH_DEPTH} levels deep, next to a folder of labels "
    f"{' or '.join(name.capitalize() for name in ckplus_roots.LABEL_ROOTS)}"
)


def describe_empty_source(
    data: Path, summary: dict[str, Any], dataset: DatasetName | None = None
) -> str:
    """Describe what was expected, what was found, and the irregularities, one line each.

    Args:
        data: The source.
        summary: `images_found` and `quality`, as in `Listing.summary`.
        dataset: What the user chose; only the layout of CK+ is expected for `ckplus`.
    """
    expected = [_CKPLUS] if dataset == "ckplus" else _expected(data)
    lines = [f"Expected: {'; or '.join(expected)}."]
    if data.is_dir():
        lines.append(f"Found: {_contents(data)}; {summary['images_found']} images in total.")
    lines += [
        f"Data quality: {record['count']} {record['meaning']} (such as {record['examples'][0]})."
        for record in summary["quality"]
    ]
    return "\n".join(lines)


def _expected(data: Path) -> list[str]:
    columns = (
        f"a column {' or '.join(PATH_COLUMNS[:NAMED])} with paths relative to the CSV file, "
        f"and a column {' or '.join(LABEL_COLUMNS[:NAMED])}"
    )
    if data.is_file():
        return [columns]
    return [
        _CKPLUS,
        f"a {LABELS_FILE} with {columns}",
        f"images ({', '.join(sorted(IMAGE_SUFFIXES))}) in folders named after emotions "
        f"({', '.join(EMOTIONS)})",
    ]


def _contents(folder: Path) -> str:
    """The folders and files directly in `folder`, in words."""
    entries = scan_folder(folder)
    folders = [entry.name for entry in entries if entry.is_dir()]
    suffixes = Counter(
        Path(entry.name).suffix or entry.name for entry in entries if not entry.is_dir()
    )
    files = [f"{count} × {suffix}" for suffix, count in suffixes.most_common(MAX_NAMED)]
    return f"{_enumerate('folder', folders)}, {_enumerate('file', files)}"


def _enumerate(noun: str, names: list[str]) -> str:
    if not names:
        return f"no {noun}s"
    more = " …" if len(names) > MAX_NAMED else ""
    return f"the {noun}s {', '.join(names[:MAX_NAMED])}{more}"
