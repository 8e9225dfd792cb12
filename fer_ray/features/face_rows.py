"""Rows of images that may show several faces: numbering, and one row per image for counting."""

import numpy as np
import pyarrow as pa

from fer_ray.features.steps import IMAGE
from fer_ray.vocabulary import USABLE_STATUSES


def number_faces(table: pa.Table) -> pa.Table:
    """Append `face_index` and `face_id`.

    Args:
        table: Rows with the number of their image in `IMAGE`; those of an image are adjacent, the
            largest face first.
    """
    contents, boxes = table["sha256"].to_pylist(), table["box_xywh"].to_pylist()
    ids = [face_id(content, box) for content, box in zip(contents, boxes, strict=True)]
    _, first, image = np.unique(table[IMAGE].to_numpy(), return_index=True, return_inverse=True)
    indices = np.arange(table.num_rows) - first[image]
    table = table.append_column("face_index", pa.array(indices, pa.int16()))
    return table.append_column("face_id", pa.array(ids, pa.string()))


def face_id(sha256: str, box_xywh: list[int] | None) -> str | None:
    """An identifier of a face that depends only on the image's content and the face's box."""
    return f"{sha256[:32]}-{'-'.join(map(str, box_xywh))}" if box_xywh else None


def one_row_per_image(table: pa.Table) -> pa.Table:
    """Select one row per image: its largest face with features, otherwise its first row.

    Args:
        table: Rows with `face_index` and `status`; those of an image are adjacent.

    Returns:
        The selected rows in order, with the column `faces`: how many faces of the image have
        features.
    """
    image = np.cumsum(table["face_index"].to_numpy() == 0) - 1
    usable = np.isin(table["status"].to_numpy(zero_copy_only=False), USABLE_STATUSES)
    faces = np.bincount(image, weights=usable).astype(np.int16)
    candidates = np.flatnonzero(usable | (faces[image] == 0))
    _, first = np.unique(image[candidates], return_index=True)
    return table.take(candidates[first]).append_column("faces", pa.array(faces))
