"""Face crops laid out by emotion, as the study's `dataset` folder: for people and other tools."""

import os
import shutil
from pathlib import Path
from typing import Any

import cv2

from fer_ray.errors import UserError
from fer_ray.faces.crops import cut_again
from fer_ray.settings.extraction import Decode
from fer_ray.storage.files import replace_folder
from fer_ray.storage.parquet import read_table
from fer_ray.vocabulary import EMOTIONS

MARKER = ".fer-ray-crops"  # in a folder that an export made, and so may make anew


def export_crops(frames: Path, root: Path, target: Path, decode: Decode, size_px: int) -> int:
    """Write each face crop as `target/EMOTION/IMAGE_ID.png`; the folder appears when it is whole.

    Crops are cut again from the images by the boxes in `frames`, so they are the very pixels that
    landmarks were located on. Unlabelled ones go to `unlabelled/`.

    Args:
        frames: Folder of the frames table.
        root: Folder that its `path` is relative to.
        target: Where to write: a folder that is not there yet, is empty, or of an earlier export.
        decode: Of the extraction.
        size_px: Side of a crop.

    Returns:
        The number of crops written.

    Raises:
        UserError: An image is not there any more or is another, the rows are not of an extraction,
            or the target holds other things or cannot be written.
    """
    require_target(target)
    columns = ["image_id", "path", "sha256", "emotion", "box_xywh"]
    rows = read_table(frames, columns=columns, filters=[("cascade", "!=", "")]).to_pylist()
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    for row in rows:
        file = new / _folder_of(row, frames) / crop_name(row["image_id"])
        try:
            crop = cut_again(row, root, decode, size_px)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(cv2.imencode(".png", crop)[1].tobytes())
        except ValueError as problem:
            raise UserError(
                f"Cannot export the crop of {row['image_id']}: {root / row['path']} is not what it "
                f"was made from ({problem})."
            ) from None
        except OSError as problem:
            raise UserError(f"Cannot export the crop of {row['image_id']}: {problem}") from None
    new.mkdir(parents=True, exist_ok=True)  # where there is no crop at all
    (new / MARKER).touch()
    replace_folder(new, target)
    return len(rows)


def _folder_of(row: dict[str, Any], frames: Path) -> str:
    """By its emotion: a stranger's rows might name any folder."""
    if row["emotion"] not in (None, *EMOTIONS):
        raise UserError(f"{frames} has an emotion {row['emotion']!r}: no extraction made it.")
    return row["emotion"] or "unlabelled"


def require_target(target: Path) -> None:
    """See that crops may be exported to `target`, before anything is done for them.

    Raises:
        UserError: It holds other things, or cannot be written.
    """
    if target.exists() and not _may_replace(target):
        raise UserError(f"{target} holds other things than exported crops: name another folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(f"Cannot write into {target.parent}: {problem.strerror}.") from None
    if not os.access(target.parent, os.W_OK):
        raise UserError(f"Cannot write into {target.parent}: no permission.")


def _may_replace(target: Path) -> bool:
    return target.is_dir() and ((target / MARKER).exists() or not any(target.iterdir()))


def crop_name(image_id: str) -> str:
    """A file name for an image: folders of a path-like id become part of the name."""
    return image_id.replace("/", "__") + ".png"
