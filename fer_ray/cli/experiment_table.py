"""The closing table of experiments: as many columns as the terminal has room for, none wrapped."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads libraries that a run can load while its workers work
    from fer_ray.evaluation.summary import ExperimentSummary

GAP = 2  # between columns
INDENT = 1  # of figures beneath a name: all columns then fit 80 characters
NAME = "experiment"
LEAST_NEEDED = ("train", "ECE", "F1", "loss", "seen", "recall", "trials")  # left out in this order
MEANINGS = (
    "On test images. train: accuracy on training images; recall, F1: mean over classes; loss: "
    "nats; ECE: calibration error; seen: share of test images whose subject is also in training"
)
Columns = dict[str, list[str]]


def table_lines(summaries: "Sequence[ExperimentSummary]", width: int) -> list[str]:
    """The lines of the table: each name before its figures, or above them on a narrow terminal."""
    columns = {name: [name, *cells] for name, cells in _columns(summaries).items()}
    names = [NAME, *(one.experiment for one in summaries)]
    longest = max(map(len, names))
    rows = _rows(columns)
    if longest + GAP + len(rows[0]) <= width:
        return [f"{name:{longest}}{' ' * GAP}{row}" for name, row in zip(names, rows, strict=True)]
    for name in LEAST_NEEDED:
        if INDENT + len(rows[0]) <= width:
            break
        del columns[name]
        rows = _rows(columns)
    figures = [" " * INDENT + row for row in rows]
    pairs = zip(names[1:], figures[1:], strict=True)
    return [NAME, figures[0], *(line for pair in pairs for line in pair)]


def _rows(columns: Columns) -> list[str]:
    """Each row's cells, flush right in columns that are as wide as they need be."""
    padded = [[f"{cell:>{max(map(len, cells))}}" for cell in cells] for cells in columns.values()]
    return [(" " * GAP).join(row) for row in zip(*padded, strict=True)]


def _columns(summaries: "Sequence[ExperimentSummary]") -> Columns:
    return {
        "trials": [str(one.n_trials) for one in summaries],
        "accuracy ± sd": [
            f"{one.test_accuracy:.4f}{number(' ± {:.3f}', one.test_accuracy_sd)}"
            for one in summaries
        ],
        "95 % interval": [number("{:.3f}–{:.3f}", *one.interval) or "none" for one in summaries],
        "train": [f"{one.train_accuracy:.3f}" for one in summaries],
        "recall": [f"{one.macro_recall:.3f}" for one in summaries],
        "F1": [f"{one.macro_f1:.3f}" for one in summaries],
        "loss": [f"{one.test_log_loss:.3f}" for one in summaries],
        "ECE": [f"{one.calibration_error:.3f}" for one in summaries],
        "seen": [share(one.test_subject_in_train) for one in summaries],
    }


def number(text: str, *values: float | None) -> str:
    """The values in their text; nothing where one is missing, which is written as nan or None."""
    return "" if any(value is None or value != value for value in values) else text.format(*values)


def share(value: float | None) -> str:
    """A share as `95%`."""
    return number("{:.0%}", value) or "unknown"
