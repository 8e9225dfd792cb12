"""Rows of predictions on standard output: a table to read, or all columns for programs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from fer_ray.evaluation.answers import UNUSUAL_P
from fer_ray.storage.parquet import read_table

FEW_IMAGES = 20  # a table of more rows would be hard to read
NOT_IN_CSV = ("cascade_faces", "landmarks_xy")  # nested; box_xywh has four columns
BOX = ("box_x", "box_y", "box_width", "box_height")

Row = dict[str, Any]


def write_rows(rows: Path, row_format: str) -> None:
    """Write all rows to standard output as JSON lines, CSV or Parquet.

    Args:
        rows: Folder of the predictions.
        row_format: `json`, `csv` or `parquet`.
    """
    import pyarrow.parquet

    table = read_table(rows)
    if row_format == "json":
        for row in table.to_pylist():
            click.echo(json.dumps(row, ensure_ascii=False))
    elif row_format == "csv":
        click.echo(_flat(table).to_pandas().to_csv(index=False), nl=False)
    else:
        content = pa.BufferOutputStream()
        pyarrow.parquet.write_table(table, content, compression="zstd")
        click.echo(content.getvalue().to_pybytes(), nl=False)


def _flat(table: pa.Table) -> pa.Table:
    """The rows without nested columns; lists of names are joined by spaces."""
    columns: dict[str, Any] = {}
    for field in table.schema:
        values = table[field.name]
        if field.name == "box_xywh":
            boxes = [box or [None] * len(BOX) for box in values.to_pylist()]
            columns |= {
                name: pa.array([box[side] for box in boxes], pa.int32())
                for side, name in enumerate(BOX)
            }
        elif pa.types.is_list(field.type):
            joined = [
                None if names is None else " ".join(map(str, names)) for names in values.to_pylist()
            ]
            columns[field.name] = pa.array(joined, pa.string())
        elif field.name not in NOT_IN_CSV:
            columns[field.name] = values
    return pa.table(columns)


def row_lines(rows: Path) -> Iterator[str]:
    """Yield a line per face: file, answer, probability, second answer, and what is unusual.

    Args:
        rows: Folder of the predictions.
    """
    table = read_table(rows)
    emotions = {
        name.removeprefix("p_"): name for name in table.column_names if name.startswith("p_")
    }
    several = any(index > 0 for index in table["face_index"].to_pylist())
    place = ("file", "face") if several else ("file",)
    header = (*place, "answer", "p", "second", "p", "label", "note")
    cells = [header, *(_cells(row, emotions, several) for row in table.to_pylist())]
    for optional in ("note", "label"):  # left out if no face is unusual, or no image is labelled
        at = header.index(optional)
        if not any(row[at] for row in cells[1:]):
            cells = [(*row[:at], *row[at + 1 :]) for row in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(row: Row, emotions: dict[str, str], several: bool) -> tuple[str, ...]:
    place = (row["path"], *((str(row["face_index"]),) if several else ()))
    if row["predicted"] is None:
        return (*place, row["status"].replace("_", " "), "", "", "", row["emotion"] or "", "")
    others = {name: row[column] for name, column in emotions.items() if name != row["predicted"]}
    second = max(others, key=lambda name: others[name])
    answer = row["predicted"]
    if row.get("answer", answer) != answer:  # the model abstains
        answer = f"{row['answer']} ({answer})"
    probability = f"{row[emotions[row['predicted']]]:.2f}"
    unusual = "unusual face" if row["ood_p_value"] <= UNUSUAL_P else ""
    answers = (answer, probability, second, f"{others[second]:.2f}")
    return (*place, *answers, row["emotion"] or "", unusual)
