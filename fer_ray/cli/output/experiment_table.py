"""The table of experiments, with as many columns as fit the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a slow import, which a run does while its workers are busy
    from fer_ray.evaluation.experiments.summary import ExperimentSummary

GAP = 2  # spaces between columns
NAME = "experiment"
OPTIONAL = ("train", "ECE", "F1", "loss", "overlap", "recall", "trials")  # left out in this order
MEANINGS = (
    "On test images. train: accuracy on training images; recall, F1: mean over classes; loss: log "
    "loss in nats; ECE: expected calibration error; overlap: share of test images whose subject is "
    "also in training"
)
Columns = dict[str, list[str]]


def table_lines(summaries: "Sequence[ExperimentSummary]", width: int) -> list[str]:
    """Format a table of experiments.

    Args:
        summaries: The experiments.
        width: Columns of the terminal.

    Returns:
        Lines of at most `width` characters, unless a name is longer. On a narrow terminal, each
        name is on a line above its figures.
    """
    columns = {header: [header, *cells] for header, cells in _columns(summaries).items()}
    names = [NAME, *(summary.experiment for summary in summaries)]
    longest = max(map(len, names))
    rows = _rows(columns)
    if longest + GAP + len(rows[0]) <= width:
        return [f"{name:{longest}}{' ' * GAP}{row}" for name, row in zip(names, rows, strict=True)]
    for header in OPTIONAL:
        if len(rows[0]) <= width:
            break
        del columns[header]
        rows = _rows(columns)
    pairs = zip(names[1:], rows[1:], strict=True)
    return [NAME, rows[0], *(line for pair in pairs for line in pair)]


def _rows(columns: Columns) -> list[str]:
    """Join the cells of each row, right-aligned in columns of minimal width."""
    padded = [[f"{cell:>{max(map(len, cells))}}" for cell in cells] for cells in columns.values()]
    return [(" " * GAP).join(row) for row in zip(*padded, strict=True)]


def _columns(summaries: "Sequence[ExperimentSummary]") -> Columns:
    return {
        "trials": [str(summary.n_trials) for summary in summaries],
        "accuracy ± sd": [
            f"{summary.test_accuracy:.4f}{format_known(' ± {:.3f}', summary.test_accuracy_sd)}"
            for summary in summaries
        ],
        "95% CI": [
            format_known("{:.3f}–{:.3f}", *summary.interval) or "none" for summary in summaries
        ],
        "train": [f"{summary.train_accuracy:.3f}" for summary in summaries],
        "recall": [f"{summary.macro_recall:.3f}" for summary in summaries],
        "F1": [f"{summary.macro_f1:.3f}" for summary in summaries],
        "loss": [f"{summary.test_log_loss:.3f}" for summary in summaries],
        "ECE": [f"{summary.calibration_error:.3f}" for summary in summaries],
        "overlap": [format_share(summary.test_subject_in_train) for summary in summaries],
    }


def format_known(template: str, *values: float | None) -> str:
    """Format values with a template; an empty text if one of them is None or NaN."""
    if any(value is None or value != value for value in values):
        return ""
    return template.format(*values)


def format_share(value: float | None) -> str:
    """Format a share as `95%`; `unknown` for None or NaN."""
    return format_known("{:.0%}", value) or "unknown"
