"""What a job shows on the terminal: one bar a stage, and a closing table."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fer_ray.cli import experiment_table, prediction_lines
from fer_ray.cli.experiment_table import number, share
from fer_ray.evaluation import leakage
from fer_ray.execution.progress import Advance
from fer_ray.execution.progress import Progress as ProgressDisplay
from fer_ray.models.bundles.bundle import CARD
from fer_ray.sources.quality import counted

if TYPE_CHECKING:  # they load libraries that a run can load while its workers work
    from fer_ray.evaluation.compare import Comparison
    from fer_ray.evaluation.summary import ExperimentSummary
    from fer_ray.models.bundles.bundle import Bundle
    from fer_ray.pipelines.run import Result
    from fer_ray.pipelines.verify_determinism import Outcome


def progress_display(silent: bool) -> ProgressDisplay:
    """Bars on the error stream, none in a pipe or where silence is asked for."""

    @contextmanager
    def stage(name: str, unit: str, total: int) -> Iterator[Advance]:
        if silent or not sys.stderr.isatty():
            yield lambda *_: None
            return
        with Progress(
            TextColumn("{task.description:8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
            console=Console(stderr=True),
        ) as bars:
            task = bars.add_task(name, total=total or None, rate="", told="")

            def advance(count: int, told: str = "") -> None:
                bars.advance(task, count)
                speed = bars.tasks[0].speed
                bars.update(task, rate=f"{speed:.1f}/s" if speed else "", told=told)

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
    if data.get("sizes") and data.get("modes"):
        kinds = f"sizes: {counted(data['sizes'])}; pixels: {counted(data['modes'])}"
        console.print(kinds, markup=False)
    _print_oddities(data)
    console.print(f"rows: {out / 'frames'}", markup=False)


def _print_oddities(data: dict[str, Any]) -> None:
    for oddity in data["quality"]:
        _console().print(f"{oddity['count']} × {oddity['meaning']}", markup=False)


def print_trials(summaries: "list[ExperimentSummary]", warnings: list[str]) -> None:
    """Figures of each experiment, each accuracy with its protocol and interval."""
    console = _console()
    for line in experiment_table.table_lines(summaries, console.width):
        console.print(line, markup=False)
    console.print(experiment_table.MEANINGS, markup=False, soft_wrap=False)
    for warning in warnings:
        console.print(f"Note: {warning}", markup=False)


def print_leakage(audited: dict[str, Any]) -> None:
    """What the test images of these splits share with training."""
    console = _console()
    unknown = leakage.unknown(audited)
    nothing = "nothing that is known" if unknown else "nothing"
    for line in leakage.told(audited) or [f"test images share {nothing} with training"]:
        console.print(f"Leakage ({audited['protocol']}): {line}", markup=False)
    if unknown:
        console.print(f"Not known of the test images: {', '.join(unknown)}", markup=False)


def print_chosen(chosen: list[dict[str, Any]]) -> None:
    """What answers in each trial of a search."""
    table = Table("trial", "classifier", "features", "settings", "inner accuracy",
                  box=None, pad_edge=False)  # fmt: skip
    for row in chosen:
        settings = ", ".join(f"{name}={value:.3g}" for name, value in row["parameters"].items())
        accuracy = f"{row['inner_accuracy']:.4f}"
        table.add_row(str(row["trial"]), row["classifier"], row["feature_set"], settings, accuracy)
    _console().print(table)


def print_late_cohorts(found: dict[str, dict[str, Any]]) -> None:
    """Contempt within CK+'s late cohort, one line an experiment."""
    for name, late in found.items():
        _console().print(
            f"{name}: contempt within subjects S138 and later: recall {share(late['recall'])}, "
            f"precision {share(late['precision'])}; other faces called contempt: "
            f"{share(late['called_within'])} there, {share(late['called_before'])} before",
            markup=False,
        )


def print_comparison(first: str, second: str, found: "Comparison") -> None:
    """The paired difference of two experiments."""
    console = _console()
    console.print(f"{first} − {second}", markup=False)
    interval = number("95 % interval {:+.3f} – {:+.3f} ", *found.interval) or "no interval "
    p_value = number("p = {:.3g}", found.p_value) or "no p value"
    console.print(
        f"accuracy {found.difference:+.4f}, {interval}({found.method}); {p_value} ({found.test})"
    )
    console.print(f"only the first is right: {found.only_first}; only the second: "
                  f"{found.only_second}")  # fmt: skip


def print_bundle(bundle: "Bundle") -> None:
    """What was saved, and how well it did where it comes from."""
    console, evidence = _console(), bundle.manifest.evidence
    interval = number("95 % interval {:.3f}–{:.3f}", *evidence.interval_95) or "no interval"
    console.print(f"bundle: {bundle.folder} (SHA-256 {bundle.sha256})", markup=False)
    console.print(
        f"{evidence.experiment} on {evidence.data}: accuracy {evidence.test_accuracy:.4f}, "
        f"{interval}; this model: {bundle.manifest.training.how}",
        markup=False,
    )
    console.print(f"model card: {bundle.folder / CARD}", markup=False)


def print_predictions(record: dict[str, Any], out: Path) -> None:
    """Counts by status and by answer, how good the answers are, and what was written."""
    console = _console()
    if record.get("already_finished"):
        console.print("These images were answered before; nothing was done again.")
    counts = Table("status", "images", box=None, pad_edge=False)
    for status, count in record["counts"].items():
        counts.add_row(status, str(count))
    predicted = Table("answer", "images", box=None, pad_edge=False)
    for name, count in record["predicted"].items():
        predicted.add_row(name, str(count))
    console.print(counts)
    console.print(predicted)
    _print_oddities(record["data"])
    for line in prediction_lines.lines(record, out):
        console.print(line, markup=False)


def print_outcomes(outcomes: "list[Outcome]") -> None:
    """One line a way to deal the work out, and what differs."""
    table = Table("workers", "block", "batch", "rows (SHA-256)", "figures (SHA-256)", "seconds",
                  "compared with the first", box=None, pad_edge=False)  # fmt: skip
    for one in outcomes:
        way = one.way
        table.add_row(
            *(str(size) for size in (way.workers, way.block_images, way.batch_images)),
            one.rows[:16],
            one.figures[:16] if one.figures else "no trials possible",
            f"{one.seconds:.1f}",
            f"differs: {', '.join(one.differing)}" if one.differing else "the same",
        )
    _console().print(table)


def print_run(result: "Result") -> None:
    """The closing table of a whole run."""
    if result.already_finished:
        _console().print("This run was finished before; nothing was done again.")
    assert result.report is not None
    print_extract(result.record["extract"], result.report.parent.parent)
    print_trials(result.summaries, result.record["warnings"])
    print_late_cohorts(result.record["late_cohorts"])
    _console().print(f"report: {result.report}", markup=False)


def _console() -> Console:
    """Standard output; in a pipe wide enough that no cell is cut."""
    return Console(width=None if sys.stdout.isatty() else 240, highlight=False, soft_wrap=True)
