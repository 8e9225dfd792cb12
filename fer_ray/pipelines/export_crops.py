"""`--export-crops`: face crops in one folder per emotion, for people and other tools."""

import os
from itertools import chain
from pathlib import Path
from typing import Any

import cv2

from fer_ray.errors import UserError
from fer_ray.faces.crops import recrop
from fer_ray.settings.extraction import Decode
from fer_ray.storage.files import write_folder
from fer_ray.storage.parquet import read_table
from fer_ray.storage.paths import is_object
from fer_ray.vocabulary import EMOTIONS

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
        raise UserError(f"Cannot export crops to {target}: {problem}") from None
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
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(
            f"Cannot write to {target.parent}: {problem.strerror}. Pass another --export-crops."
        ) from None
    if not os.access(target.parent, os.W_OK):
        raise UserError(
            f"Cannot write to {target.parent}: no permission. Pass another --export-crops."
        )


def _may_replace(target: Path) -> bool:
    return target.is_dir() and ((target / MARKER).exists() or not any(target.iterdir()))


def crop_name(image_id: str) -> str:
    """File name of a crop; slashes of the image_id become underscores."""
    return image_id.replace("/", "__") + ".png"
