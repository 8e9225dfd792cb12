"""A contact sheet of predicted images, with face boxes and predictions, as one PNG file."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from fer_ray.settings.extraction import Decode
from fer_ray.sources.decoding import decode_file

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
    """Draw up to `MAX_IMAGES` images, evenly spaced among all rows.

    Args:
        rows: Predictions of `fer-ray predict`.
        root: Folder of the images.
        file: The PNG file to write.

    Returns:
        The number of images on the sheet.
    """
    count = min(rows.num_rows, MAX_IMAGES)
    shown = np.unique(np.linspace(0, rows.num_rows - 1, count).round().astype(int))
    records: list[Row] = rows.take(shown).to_pylist()
    lines = -(-len(records) // COLUMNS)
    columns = min(COLUMNS, len(records))
    step_x, step_y = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * step_x + GAP_PX, lines * step_y + GAP_PX), BACKGROUND)
    for number, row in enumerate(records):
        line, column = divmod(number, COLUMNS)
        sheet.paste(_draw_tile(row, root), (GAP_PX + column * step_x, GAP_PX + line * step_y))
    sheet.save(file, optimize=True)
    return len(records)


def _draw_tile(row: Row, root: Path) -> Image.Image:
    tile = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), BACKGROUND)
    decoded = decode_file(root / row["path"], Decode())
    if decoded.gray is not None and decoded.sha256 == row["sha256"]:
        tile.paste(_fit_into_tile(Image.fromarray(decoded.gray), row))
    draw = ImageDraw.Draw(tile)
    (first, first_colour), (second, second_colour) = _caption(row)
    draw.text((0, TILE_PX + 5), first, first_colour, ImageFont.load_default(17))
    draw.text((0, TILE_PX + 29), second, second_colour, ImageFont.load_default(14))
    return tile


def _fit_into_tile(image: Image.Image, row: Row) -> Image.Image:
    """Resize an image to fit into a tile, and draw the box of its face."""
    scale = TILE_PX / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    small = image.convert("RGB").resize((size[0], size[1]), Image.Resampling.LANCZOS)
    if row["box_xywh"] is not None:
        x, y, w, h = (value * scale for value in row["box_xywh"])
        (_, colour), _ = _caption(row)
        ImageDraw.Draw(small).rectangle((x, y, x + w, y + h), outline=colour, width=2)
    return small


def _caption(row: Row) -> tuple[Line, Line]:
    """The prediction, and the label if there is one."""
    label = row["emotion"]
    label_line = (f"labelled {label}" if label else "", MUTED)
    if row["predicted"] is None:
        return (str(row["status"]).replace("_", " "), MUTED), label_line
    prediction = f"{row['predicted']} {100 * row['p_' + row['predicted']]:.0f} %"
    if label is None:
        return (prediction, INK), label_line
    return (prediction, CORRECT if label == row["predicted"] else WRONG), label_line
