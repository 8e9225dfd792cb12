"""The page of a transfer matrix."""

from pathlib import Path
from typing import Any

from fer_ray import __version__
from fer_ray.report.figures.themed_picture import draw_picture
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


def write_transfer_page(out: Path, record: dict[str, Any]) -> Path:
    """Write `out/report`: the page, and its figure as PNG and SVG.

    Args:
        out: Folder of the results.
        record: As in `transfer.json`.

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
    context = {
        "record": record,
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
    figures, further = {picture.name: picture.light}, {"transfer.svg": transfer_matrix_svg(rows)}
    return write_report_folder(out, page, figures, further)


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
    return f"{formatting.signed(100 * value)} ({formatting.signed_interval(ends)})"
