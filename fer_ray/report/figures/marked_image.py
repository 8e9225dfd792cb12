"""An image with the boxes and landmarks of its faces, as a PNG file."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fer_ray.faces.crops import crop_region
from fer_ray.storage.files import write_bytes

MAX_SIDE_PX = 1600
MIN_SIDE_PX = 480
BOX, POINT = "#f2a661", "#74b7f0"  # orange and blue: distinct under colour blindness


def draw_faces(
    gray: NDArray[np.uint8], faces: Iterable[Mapping[str, Any]], crop_px: int, file: Path
) -> None:
    """Draw the boxes and landmarks of faces on their image.

    Args:
        gray: (height, width), at full size.
        faces: Rows with `box_xywh`, `crop_angle` and `landmarks_xy`; null without a face.
        crop_px: Side of the crops that the landmarks refer to.
        file: The PNG file to write.
    """
    scale = _scale(max(gray.shape))
    size = [max(1, round(side * scale)) for side in gray.shape[::-1]]
    image = Image.fromarray(gray).convert("RGB").resize((size[0], size[1]))
    draw = ImageDraw.Draw(image)
    for face in faces:
        if face["box_xywh"] is not None:
            box, points = face_in_image(face, crop_px)
            corners = [(x, y) for x, y in (box * scale).tolist()]
            draw.polygon(corners, outline=BOX, width=2)
            for x, y in (points * scale).tolist():
                draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=POINT)
    content = io.BytesIO()
    image.save(content, "PNG")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(content.getvalue(), file)


def face_in_image(
    face: Mapping[str, Any], crop_px: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The corners (4, 2) of a face's box and its landmarks (68, 2), in pixels of the image.

    Args:
        face: `box_xywh`, `crop_angle`, and `landmarks_xy` in pixels of the crop, or null.
        crop_px: Side of the crop.

    Returns:
        Corners and landmarks; no landmarks, (0, 2), if the face has none.
    """
    placed = crop_region(tuple(face["box_xywh"]), face["crop_angle"] or 0).to_image(crop_px)
    square = np.array([[0, 0], [crop_px, 0], [crop_px, crop_px], [0, crop_px]], np.float64)
    flat = [] if face["landmarks_xy"] is None else face["landmarks_xy"]
    points = np.array(flat, np.float64).reshape(-1, 2)
    corners, landmarks = (xy @ placed[:, :2].T + placed[:, 2] for xy in (square, points))
    return corners, landmarks


def _scale(longer_side: int) -> float:
    """Enlarge small images and reduce large ones, so that marks are visible."""
    return min(MAX_SIDE_PX, max(MIN_SIDE_PX, longer_side)) / longer_side
