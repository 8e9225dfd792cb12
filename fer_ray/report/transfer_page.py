"""The page of a transfer matrix."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from fer_ray import __version__
from fer_ray.report.figures.model_curves import LINE_STYLES, calibration
from fer_ray.report.figures.themed_picture import Picture, draw_picture
from fer_ray.report.figures.transfer_matrix import transfer_matrix, transfer_matrix_svg
from fer_ray.report.rendering import render, write_report_folder
from fer_ray.report.text import formatting

HEADS = [
    *("Trained on", "Tested on", "Protocol", "Training images", "Test images", "Subjects"),
    *("Accuracy", "Macro recall", "Calibration error", "Majority class", "Difference to own folds"),
]
EXCLUDED_HEADS = [
    *("Trained on", "Tested on", "Same person", "Same file", "Near-duplicate"),
    "Test images of other classes",
]
PROTOCOLS = {
    "another-source": "another source",
    "subject-10fold": "10 folds by subject",
    "image-10fold": "10 folds by image",
}

Row = dict[str, Any]


def write_transfer_page(out: Path, record: dict[str, Any], predictions: pd.DataFrame) -> Path:
    """Write `out/report`: the page, its figures as PNG, and the matrix as SVG.

    Args:
        out: Folder of the results.
        record: As in `transfer.json`.
        predictions: `TRANSFER_PREDICTIONS_SCHEMA`.

    Returns:
        The path of the page.
    """
    rows = record["matrix"]
    facts = "; ".join(
        f"trained on {row['train']}, tested on {row['test']}: accuracy "
        f"{formatting.percent(row['accuracy'])}, macro recall "
        f"{formatting.percent(row['macro_recall'])}"
        for row in rows
        if row.get("accuracy") is not None
    )
    picture = draw_picture(
        "transfer",
        f"Accuracy and macro recall. {facts}.",
        lambda theme: transfer_matrix(rows, theme),
    )
    curves = _calibration_pictures(predictions)
    context = {
        "record": record,
        "curves": curves,
        "picture": picture,
        "heads": HEADS,
        "rows": [figure_cells(row) for row in rows],
        "excluded_heads": EXCLUDED_HEADS,
        "excluded": [excluded_cells(row) for row in rows],
        "problems": [row for row in rows if row["problem"]],
        "synthetic": any(source["synthetic"] for source in record["sources"]),
        "version": __version__,
    }
    page = render("transfer.html", context)
    figures = {one.name: one.light for one in (picture, *curves.values())}
    return write_report_folder(out, page, figures, {"transfer.svg": transfer_matrix_svg(rows)})


def _calibration_pictures(predictions: pd.DataFrame) -> dict[str, Picture]:
    """Calibration curves by training source: its own folds first, at most four test sources."""
    pictures = {}
    for number, (train, rows) in enumerate(predictions.groupby("train", sort=False)):
        tested = sorted(rows["test"].unique(), key=lambda test: test != train)
        curves = {
            f"{test} (own folds)" if test == train else f"tested on {test}": rows[
                rows["test"] == test
            ]
            for test in tested[: len(LINE_STYLES)]
        }
        pictures[str(train)] = draw_picture(
            f"calibration-{number + 1}",
            f"Calibration curves of the models trained on {train}: {', '.join(curves)}.",
            partial(calibration, curves),
        )
    return pictures


def figure_cells(row: Row) -> tuple[str, ...]:
    """The cells of one row of the matrix, in the order of `HEADS`."""
    return (
        row["train"],
        row["test"],
        PROTOCOLS[row["protocol"]],
        str(row["train_images"]),
        str(row["images"]),
        str(row["subjects"] or "unknown"),
        *(_with_interval(row, name) for name in ("accuracy", "macro_recall", "calibration_error")),
        _percent(row.get("majority_share")),
        _difference(row),
    )


def excluded_cells(row: Row) -> tuple[str, ...]:
    """What was excluded from one cell, in the order of `EXCLUDED_HEADS`."""
    counts = [row[f"excluded_{kind}"] for kind in ("subject", "content", "near_duplicate")]
    cells = ["unknown" if count is None else str(count) for count in counts]
    return row["train"], row["test"], *cells, str(row["unknown_class"])


def _percent(share: float | None) -> str:
    return "–" if share is None else formatting.percent(share)


def _with_interval(row: Row, name: str) -> str:
    value = row.get(name)
    if value is None:
        return "–"
    return formatting.with_interval(value, (row[f"{name}_low"], row[f"{name}_high"]))


def _difference(row: Row) -> str:
    value = row.get("difference_to_own")
    if value is None:
        return "–"
    ends = row["difference_to_own_low"], row["difference_to_own_high"]
    return f"{formatting.points(value)} ({formatting.signed_interval(ends)})"
