"""A contact sheet: images with the face's box and the model's answer, as one PNG."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from fer_ray.settings.extraction import Decode
from fer_ray.sources.decoding import decode_file

MOST_SHOWN = 60
COLUMNS = 6
TILE_PX = 220
CAPTION_PX = 52
GAP_PX = 10
GROUND, INK, MUTED = "#181d24", "#e7eaee", "#a4aebb"
RIGHT, WRONG = "#74b7f0", "#f2a661"  # a blue and an orange that colour blindness tells apart
Row = dict[str, Any]


def write_sheet(rows: pa.Table, root: Path, file: Path) -> int:
    """Draw images of `rows`, spread evenly over all of them, and say how many.

    Args:
        rows: Predictions of `fer-ray predict`.
        root: Where the images lie.
        file: The PNG.
    """
    most = min(rows.num_rows, MOST_SHOWN)
    shown = np.unique(np.linspace(0, rows.num_rows - 1, most).round().astype(int))
    records: list[Row] = rows.take(shown).to_pylist()
    lines = -(-len(records) // COLUMNS)
    columns = min(COLUMNS, len(records))
    step_x, step_y = TILE_PX + GAP_PX, TILE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * step_x + GAP_PX, lines * step_y + GAP_PX), GROUND)
    for number, row in enumerate(records):
        line, column = divmod(number, COLUMNS)
        sheet.paste(_tile(row, root), (GAP_PX + column * step_x, GAP_PX + line * step_y))
    sheet.save(file, optimize=True)
    return len(records)


def _tile(row: Row, root: Path) -> Image.Image:
    tile = Image.new("RGB", (TILE_PX, TILE_PX + CAPTION_PX), GROUND)
    decoded = decode_file(root / row["path"], Decode())
    if decoded.gray is not None and decoded.sha256 == row["sha256"]:
        tile.paste(_boxed(Image.fromarray(decoded.gray), row))
    draw = ImageDraw.Draw(tile)
    (first, colour), (second, beside) = _caption(row)
    draw.text((0, TILE_PX + 5), first, colour, ImageFont.load_default(17))
    draw.text((0, TILE_PX + 29), second, beside, ImageFont.load_default(14))
    return tile


def _boxed(image: Image.Image, row: Row) -> Image.Image:
    """The image fitted into a tile, with the face's box."""
    scale = TILE_PX / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    small = image.convert("RGB").resize((size[0], size[1]), Image.Resampling.LANCZOS)
    if row["box_xywh"] is not None:
        x, y, w, h = (value * scale for value in row["box_xywh"])
        colour = _caption(row)[0][1]
        ImageDraw.Draw(small).rectangle((x, y, x + w, y + h), outline=colour, width=2)
    return small


def _caption(row: Row) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two lines with their colours: the answer, and the label beside it if there is one."""
    label = row["emotion"]
    if row["predicted"] is None:
        return (str(row["status"]).replace("_", " "), MUTED), (
            f"labelled {label}" * bool(label),
            MUTED,
        )
    answer = f"{row['predicted']} {100 * row['p_' + row['predicted']]:.0f} %"
    if label is None:
        return (answer, INK), ("", MUTED)
    right = label == row["predicted"]
    return (answer, RIGHT if right else WRONG), (f"labelled {label}", MUTED)
