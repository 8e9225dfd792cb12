"""Images given one by one, as folders, or both: one listing of them all."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from fer_ray.errors import UserError
from fer_ray.settings.extraction import Selection
from fer_ray.sources.listing import LISTING_SCHEMA, Listing, list_source
from fer_ray.vocabulary import EMOTIONS, Role

SOURCE_SUFFIXES = {".csv"}  # of files that list images


def list_images(images: list[Path], selection: Selection) -> Listing:
    """List images and sources of images.

    One source is listed as `list_source` does. Of several, and of images given one by one, paths
    are relative to the folder that holds them all, and a file that is given twice counts once.

    Args:
        images: Image files, and anything that `list_source` takes.
        selection: Layout and choice of frames within sources.

    Raises:
        UserError: One of them is not there, or a source holds no images.
    """
    for path in images:
        if not path.exists():
            raise UserError(f"There is no {path}. Give image files, folders or CSV files.")
    if len(images) == 1 and _is_source(images[0]):
        return list_source(images[0], selection)
    singles = [path.resolve() for path in images if not _is_source(path)]
    listings = [list_source(path, selection) for path in images if _is_source(path)]
    folders = [path.parent for path in singles] + [one.root.resolve() for one in listings]
    root = Path(os.path.commonpath(folders))
    rows = {row["path"]: row for path in singles for row in [_row(_below(root, path))]}
    for one in listings:
        rows |= {row["path"]: row for row in _moved(one, root)}
    ordered = [rows[path] for path in sorted(rows)]
    table = pa.Table.from_pylist(ordered, schema=LISTING_SCHEMA)
    return Listing(root, table, _summary(root, ordered, listings, len(singles)))


def _is_source(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in SOURCE_SUFFIXES


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _moved(listing: Listing, root: Path) -> list[dict[str, Any]]:
    """Rows of a listing with paths, and so names, as seen from `root`."""
    folder = listing.root.resolve()
    rows: list[dict[str, Any]] = listing.table.to_pylist()
    paths = [_below(root, folder / row["path"]) for row in rows]
    return [{**row, "path": path, "image_id": path} for row, path in zip(rows, paths, strict=True)]


def _row(path: str) -> dict[str, Any]:
    empty = dict.fromkeys(LISTING_SCHEMA.names)
    return {**empty, "image_id": path, "path": path, "role": Role.OTHER.value}


def _summary(
    root: Path, rows: list[dict[str, Any]], listings: list[Listing], singles: int
) -> dict[str, Any]:
    labelled = Counter(row["emotion"] for row in rows if row["emotion"])
    return {
        "root": str(root),
        "layout": "several",
        "synthetic": bool(listings) and all(one.summary["synthetic"] for one in listings),
        "images_found": singles + sum(one.summary["images_found"] for one in listings),
        "subjects": len({row["subject"] for row in rows if row["subject"]}),
        "selected": len(rows),
        "selected_by_emotion": {name: labelled[name] for name in EMOTIONS if labelled[name]},
        "quality": [oddity for one in listings for oddity in one.summary["quality"]],
    }
