"""A contact sheet of predicted images, with face boxes and predictions, as one PNG file."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from fer_ray.settings.extraction import Decode
from fer_ray.sources.decoding import decode_file
from fer_ray.storage.files import write_bytes

MAX_IMAGES = 60
COLUMNS = 6
TILE_PX = 220
CAPTION_PX = 52
GAP_PX = 10
BACKGROUND, INK, MUTED = "#181d24", "#e7eaee", "#a4aebb"
CORRECT, WRONG = "#74b7f0", "#f2a661"  # blue and orange: distinct under colour blindness

Row = dict[str, Any]
Line = tuple[str, str]  # text and colour


def write_contact_sheet(rows: pa.Table, root: Path, file: Path) -> int:
    """Draw up to `MAX_IMAGES` images, evenly spaced among all of them.

    Args:
        rows: Predictions of `fer-ray predict`, with the faces of an image in adjacent rows.
        root: Folder of the images.
        file: The PNG file to write.

    Returns:
        The number of images on the sheet.
    """
    images = _evenly_spaced(rows)
    lines = -(-len(images) // COLUMNS)
    columns = min(COLUMNS, len(images))
    step_x, step_y = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * step_x + GAP_PX, lines * step_y + GAP_PX), BACKGROUND)
    for number, faces in enumerate(images):
        line, column = divmod(number, COLUMNS)
        sheet.paste(_draw_tile(faces, root), (GAP_PX + column * step_x, GAP_PX + line * step_y))
    content = io.BytesIO()
    sheet.save(content, "PNG", optimize=True)
    write_bytes(content.getvalue(), file)
    return len(images)


def _evenly_spaced(rows: pa.Table) -> list[list[Row]]:
    """The rows of each image to draw."""
    starts = np.flatnonzero(rows["face_index"].to_numpy() == 0)
    stops = [*starts[1:], rows.num_rows]
    count = min(len(starts), MAX_IMAGES)
    shown = np.unique(np.linspace(0, len(starts) - 1, count).round().astype(int))
    return [rows.slice(starts[at], stops[at] - starts[at]).to_pylist() for at in shown]


def _draw_tile(faces: list[Row], root: Path) -> Image.Image:
    row = faces[0]
    tile = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), BACKGROUND)
    decoded = decode_file(root / row["path"], Decode())
    if decoded.gray is not None and decoded.sha256 == row["sha256"]:
        tile.paste(_fit_into_tile(Image.fromarray(decoded.gray), faces))
    draw = ImageDraw.Draw(tile)
    (first, first_colour), (second, second_colour) = _caption(faces)
    draw.text((0, TILE_PX + 5), first, first_colour, ImageFont.load_default(17))
    draw.text((0, TILE_PX + 29), second, second_colour, ImageFont.load_default(14))
    return tile


def _fit_into_tile(image: Image.Image, faces: list[Row]) -> Image.Image:
    """Resize an image to fit into a tile, and draw the boxes of its faces."""
    scale = TILE_PX / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    small = image.convert("RGB").resize((size[0], size[1]), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(small)
    for face in faces:
        if face["box_xywh"] is None:
            continue
        x, y, w, h = (value * scale for value in face["box_xywh"])
        text, colour = _outcome(face)
        draw.rectangle((x, y, x + w, y + h), outline=colour, width=2)
        if len(faces) > 1:
            draw.text((x + 4, y + h - 16), text, colour, ImageFont.load_default(12))
    return small


def _caption(faces: list[Row]) -> tuple[Line, Line]:
    """The prediction or the number of faces, and the label if the image has one."""
    label = faces[0]["emotion"]
    label_line = (f"labelled {label}" if label else "", MUTED)
    return _outcome(faces[0]) if len(faces) == 1 else (f"{len(faces)} faces", INK), label_line


def _outcome(row: Row) -> Line:
    """The prediction, or why a face has none."""
    if row["predicted"] is None:
        return str(row["status"]).replace("_", " "), MUTED
    prediction = f"{row['predicted']} {100 * row['p_' + row['predicted']]:.0f}%"
    if row["emotion"] is None:
        return prediction, INK
    return prediction, CORRECT if row["emotion"] == row["predicted"] else WRONG
