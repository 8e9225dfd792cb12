"""Face crops laid out by emotion, as the study's `dataset` folder: for people and other tools."""

from pathlib import Path

import cv2
import pyarrow.parquet as pq

from fer_ray.data.decode import read_gray
from fer_ray.errors import UserError
from fer_ray.features.crop import cut


def export_crops(frames: Path, root: Path, target: Path, size_px: int) -> int:
    """Write each face crop as `target/EMOTION/IMAGE_ID.png`.

    Crops are cut again from the images by the boxes in `frames`, so they are the very pixels that
    landmarks were located on. Unlabelled ones go to `unlabelled/`.

    Args:
        frames: Folder of the frames table.
        root: Folder that its `path` is relative to.
        target: Where to write; made if it is not there.
        size_px: Side of a crop.

    Returns:
        The number of crops written.

    Raises:
        UserError: An image is not there any more, or the target cannot be written.
    """
    columns = ["image_id", "path", "emotion", "box_xywh"]
    rows = pq.read_table(frames, columns=columns, filters=[("cascade", "!=", "")]).to_pylist()
    for row in rows:
        file = target / (row["emotion"] or "unlabelled") / crop_name(row["image_id"])
        try:
            crop = cut(read_gray(root / row["path"]), row["box_xywh"], size_px)
            file.parent.mkdir(parents=True, exist_ok=True)
            encoded = cv2.imencode(".png", crop)[1]
            file.write_bytes(encoded.tobytes())
        except (OSError, ValueError) as problem:
            raise UserError(f"Cannot export the crop of {row['image_id']}: {problem}") from None
    return len(rows)


def crop_name(image_id: str) -> str:
    """A file name for an image: folders of a path-like id become part of the name."""
    return image_id.replace("/", "__") + ".png"
