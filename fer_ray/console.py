"""What a job shows on the terminal: one bar a stage, and a closing table."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fer_ray.job import Progress as ProgressDisplay
from fer_ray.job import Result
from fer_ray.learn.summary import ExperimentSummary

Advance = Callable[[int], None]


def progress_display(silent: bool) -> ProgressDisplay:
    """A `job.Progress`: bars on the error stream, none in a pipe or where silence is asked for."""

    @contextmanager
    def stage(name: str, unit: str, total: int) -> Iterator[Advance]:
        if silent or not sys.stderr.isatty():
            yield lambda _: None
            return
        with Progress(
            TextColumn("{task.description:8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as bars:
            task = bars.add_task(name, total=total, rate="")

            def advance(count: int) -> None:
                bars.advance(task, count)
                speed = bars.tasks[0].speed
                bars.update(task, rate=f"{speed:.1f}/s" if speed else "")

            yield advance

    return stage


def print_extract(record: dict[str, Any], out: Path) -> None:
    """Counts by status, what was odd, and where the rows are."""
    data, console = record["data"], _console()
    kind = " (synthetic)" if data["synthetic"] else ""
    console.print(f"{data['images_found']} images found{kind}, {data['selected']} selected")
    counts = Table("status", "images", box=None, pad_edge=False)
    for status, count in record["counts"].items():
        counts.add_row(status, str(count))
    counts.add_row("sum", str(sum(record["counts"].values())))
    console.print(counts)
    for oddity in data["quality"]:
        console.print(f"{oddity['count']} {oddity['meaning']}", markup=False)
    console.print(f"rows: {out / 'frames'}", markup=False)


def print_trials(summaries: list[ExperimentSummary], warnings: list[str]) -> None:
    """One line an experiment, each accuracy with its protocol and interval."""
    table = Table(box=None, pad_edge=False)
    table.add_column("experiment")
    for column in ("trials", "test accuracy", "95 % interval", "macro recall", "log loss"):
        table.add_column(column, justify="right")
    table.add_column("test subjects in training", justify="right")
    for one in summaries:
        table.add_row(
            one.experiment,
            str(one.n_trials),
            f"{one.test_accuracy:.4f} ± {one.test_accuracy_sd:.4f}",
            f"{one.interval[0]:.3f} – {one.interval[1]:.3f}",
            f"{one.macro_recall:.3f}",
            f"{one.test_log_loss:.3f}",
            _share(one.test_subject_in_train),
        )
    console = _console()
    console.print(table)
    for warning in warnings:
        console.print(f"Note: {warning}", markup=False)


def print_run(result: Result) -> None:
    """The closing table of a whole run."""
    if result.already_finished:
        _console().print("This run was finished before; nothing was done again.")
    assert result.report is not None
    print_extract(result.record["extract"], result.report.parent.parent)
    print_trials(result.summaries, result.record["warnings"])
    _console().print(f"report: {result.report}", markup=False)


def _share(value: float) -> str:
    return "unknown" if value != value else f"{value:.0%}"


def _console() -> Console:
    """Standard output; in a pipe wide enough that no cell is cut."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, soft_wrap=True)
