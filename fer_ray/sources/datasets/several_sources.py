"""List images and sources that are given one by one as a single listing."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.schemas import LISTING_SCHEMA
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import Listing, count_emotions, list_source
from fer_ray.sources.datasets.photographs import photograph_row
from fer_ray.sources.image_files import source_lost_on_error
from fer_ray.sources.labels import Label
from fer_ray.storage.paths import is_object, without_dots

LIST_SUFFIXES = {".csv"}  # suffixes of files that list images


def list_images(inputs: list[Path], selection: Selection) -> Listing:
    """List image files and sources of images.

    A single source is listed as by `list_source`. Otherwise paths are relative to the common parent
    folder of all inputs, and a file that is given twice is listed once.

    Args:
        inputs: Image files, and sources as for `list_source`.
        selection: Layout, and which frames to select within sources.

    Raises:
        UserError: An input does not exist, or no image of a source is selected.
    """
    with source_lost_on_error():
        for path in inputs:
            if not path.exists():
                raise UserError(f"{path} does not exist. Pass image files, folders or CSV files.")
    if len(inputs) == 1 and _is_source(inputs[0]):
        return list_source(inputs[0], selection)
    files = [_absolute(path) for path in inputs if not _is_source(path)]
    listings = [list_source(path, selection) for path in inputs if _is_source(path)]
    folders = [path.parent for path in files] + [_absolute(listing.root) for listing in listings]
    root = _common_folder(folders)
    by_path = {}
    for path in files:
        relative = path.relative_to(root).as_posix()
        by_path[relative] = photograph_row(relative, Label())
    for listing in listings:
        by_path |= {row["path"]: row for row in _relative_to(root, listing)}
    rows = [by_path[path] for path in sorted(by_path)]
    table = pa.Table.from_pylist(rows, schema=LISTING_SCHEMA)
    return Listing(root, table, _summary(root, rows, listings, len(files)))


def _common_folder(folders: list[Path]) -> Path:
    """The deepest folder that contains all given folders.

    Raises:
        UserError: They are on a disk and in an object store, or in several buckets.
    """
    candidates = [*folders[0].parents[::-1], folders[0]]
    common = [path for path in candidates if all(one.is_relative_to(path) for one in folders)]
    if not common or (is_object(common[-1]) and len(common[-1].parts) < 2):
        raise UserError(
            "The images are on a disk and in a bucket, or in several buckets. Pass images from one "
            "of these only."
        )
    return common[-1]


def _absolute(path: Path) -> Path:
    return without_dots(path.absolute())


def _is_source(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in LIST_SUFFIXES


def _relative_to(root: Path, listing: Listing) -> list[dict[str, Any]]:
    """Rows of a listing with paths, and therefore image IDs, relative to `root`."""
    prefix = _absolute(listing.root).relative_to(root)
    rows: list[dict[str, Any]] = listing.table.to_pylist()
    paths = [(prefix / row["path"]).as_posix() for row in rows]
    return [{**row, "path": path, "image_id": path} for row, path in zip(rows, paths, strict=True)]


def _summary(
    root: Path, rows: list[dict[str, Any]], listings: list[Listing], files: int
) -> dict[str, Any]:
    return {
        "root": str(root),
        "layout": "several",
        "synthetic": bool(listings) and all(entry.summary["synthetic"] for entry in listings),
        "images_found": files + sum(entry.summary["images_found"] for entry in listings),
        "subjects": len({row["subject"] for row in rows if row["subject"]}),
        "selected": len(rows),
        "selected_by_emotion": count_emotions(rows),
        "quality": [record for entry in listings for record in entry.summary["quality"]],
    }
