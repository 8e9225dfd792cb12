"""`--export-crops`: face crops in one folder per emotion, for people and other tools."""

import hashlib
import os
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

import cv2

from fer_ray.errors import UserError, error_text
from fer_ray.faces.crops import recrop
from fer_ray.settings.extraction import Decode
from fer_ray.storage.files import write_folder
from fer_ray.storage.parquet import read_table
from fer_ray.storage.paths import is_object
from fer_ray.vocabulary import EMOTIONS

SLASH = "__"  # replaces slashes in the name of a crop
NAME_MAX = 255  # bytes of a file name, on all common file systems
MARKER = ".fer-ray-crops"  # file in an exported folder, which a later export may then replace


def export_crops(frames: Path, root: Path, target: Path, decode: Decode, size_px: int) -> int:
    """Write each face crop as `target/EMOTION/IMAGE_ID.png`, atomically.

    The crops have exactly the pixels in which landmarks were located. Unlabelled ones are written
    to `unlabelled/`.

    Args:
        frames: Folder of the frames table.
        root: Folder that its `path` is relative to.
        target: A folder that does not exist, is empty, or was exported before.
        decode: Decoding limits of the extraction.
        size_px: Side of a crop in pixels.

    Returns:
        The number of crops written.

    Raises:
        UserError: An image is missing or has changed, the rows do not come from an extraction, or
            the target contains other files or cannot be written.
    """
    require_target(target)
    columns = ["image_id", "path", "sha256", "emotion", "box_xywh", "crop_angle"]
    rows = read_table(frames, columns=columns, filters=[("detector", "!=", "")]).to_pylist()
    names = [f"{_folder_of(row, frames)}/{crop_name(row['image_id'])}" for row in rows]
    crops = (_crop(row, root, decode, size_px) for row in rows)
    try:
        write_folder(chain(zip(names, crops, strict=True), [(MARKER, b"")]), target)
    except OSError as problem:
        raise UserError(
            f"Cannot export crops to {target}: {error_text(problem)}. Fix the problem and rerun "
            "the same command, or pass another --export-crops."
        ) from None
    return len(rows)


def _crop(row: dict[str, Any], root: Path, decode: Decode, size_px: int) -> bytes:
    """A crop as PNG."""
    try:
        return cv2.imencode(".png", recrop(row, root, decode, size_px))[1].tobytes()
    except ValueError as problem:
        raise UserError(
            f"Cannot export the crop of {row['image_id']}: {root / row['path']} differs from the "
            f"extracted image ({problem}). Restore it, or extract again."
        ) from None


def _folder_of(row: dict[str, Any], frames: Path) -> str:
    """Folder of a row's emotion; rows from elsewhere might contain any path."""
    if row["emotion"] not in (None, *EMOTIONS):
        raise UserError(
            f"{frames} has an emotion {row['emotion']!r}, so it does not come from an extraction. "
            "Extract again."
        )
    return row["emotion"] or "unlabelled"


def require_target(target: Path) -> None:
    """Require that crops may be exported to `target`, for a check before the extraction.

    Raises:
        UserError: It contains other files, or cannot be written.
    """
    if target.exists() and not _may_replace(target):
        raise UserError(f"{target} contains files other than exported crops. Pass another folder.")
    if is_object(target):
        return
    existing = next(folder for folder in target.parents if folder.exists())
    try:
        tempfile.TemporaryDirectory(prefix=".crops-", dir=existing).cleanup()
    except OSError as problem:
        raise UserError(
            f"Cannot write to {existing}: {error_text(problem)}. Pass another --export-crops."
        ) from None


def _may_replace(target: Path) -> bool:
    return target.is_dir() and ((target / MARKER).exists() or not any(target.iterdir()))


def crop_name(image_id: str) -> str:
    """File name of a crop, which differs for different images.

    Slashes of the image_id become two underscores. A name that is too long for a file, or that
    another image_id could have as well, ends with a hash of the image_id.

    Examples:
        >>> crop_name("S010/006/S010_006_00000015")
        'S010__006__S010_006_00000015.png'
    """
    name = image_id.replace("/", SLASH)
    if name.replace(SLASH, "/") == image_id and len(os.fsencode(f"{name}.png")) <= NAME_MAX:
        return f"{name}.png"
    digest = hashlib.sha256(os.fsencode(image_id)).hexdigest()[:16]
    start = os.fsencode(name)[: NAME_MAX - len(f"-{digest}.png")].decode(errors="ignore")
    return f"{start}-{digest}.png"
