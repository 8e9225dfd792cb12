"""The tables that jobs print at the end."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from fer_ray.cli.given_paths import as_given
from fer_ray.cli.output import experiment_table
from fer_ray.cli.output.bundle_lines import bundle_lines
from fer_ray.cli.output.experiment_table import format_known, format_share
from fer_ray.cli.output.prediction_lines import prediction_lines
from fer_ray.settings.datasets import describe_dataset
from fer_ray.sources.quality import describe_issue, format_counts, label_lines
from fer_ray.storage.run_folder import RunFolder

if TYPE_CHECKING:  # slow imports, which a run does while its workers are busy
    from fer_ray.evaluation.comparison import Comparison
    from fer_ray.evaluation.experiments.experiment_groups import ExperimentGroup
    from fer_ray.evaluation.experiments.summary import ExperimentSummary
    from fer_ray.models.bundles.bundle import Bundle
    from fer_ray.pipelines.audit.verify_determinism import Outcome
    from fer_ray.pipelines.run import RunOutcome

PIPE_WIDTH = 240  # so that no cell is cut where the output is not a terminal


def print_counts(record: dict[str, Any]) -> None:
    """Print the counts of images by status."""
    data, console = record["data"], output_console()
    kind = " (synthetic)" if data["synthetic"] else ""
    console.print(f"{data['images_found']} images found{kind}, {data['selected']} selected")
    counts = _counts("status", record["counts"])
    counts.add_row("sum", str(sum(record["counts"].values())))
    console.print(counts)


def print_extract(record: dict[str, Any], out: Path) -> None:
    """Print the counts by status, the data quality, and the path of the rows."""
    data, console = record["data"], output_console()
    print_counts(record)
    if data.get("sizes") and data.get("modes"):
        formats = f"sizes: {format_counts(data['sizes'])}; pixels: {format_counts(data['modes'])}"
        console.print(formats, markup=False)
    if name := data.get("dataset"):
        console.print(f"data set: {describe_dataset(name)}", markup=False)
    for line in label_lines(data.get("selected_by_emotion", {}), data.get("class_folders", [])):
        console.print(line, markup=False)
    _print_quality(data)
    _print_advice(record)
    console.print(as_given(f"rows: {RunFolder(out).frames}"), markup=False)


def _counts(header: str, counts: dict[str, int], unit: str = "images") -> Table:
    table = Table(header, unit, box=None, pad_edge=False)
    for name, count in counts.items():
        table.add_row(name, str(count))
    return table


def _print_quality(data: dict[str, Any]) -> None:
    for issue in data["quality"]:
        output_console().print(describe_issue(issue), markup=False)


def _print_advice(record: dict[str, Any]) -> None:
    for advice in record.get("advice", []):
        output_console().print(f"Note: {advice}", markup=False)


def print_trials(summaries: "list[ExperimentSummary]", warnings: list[str]) -> None:
    """Print the figures of each experiment: each accuracy with its protocol and interval."""
    console = output_console()
    for line in experiment_table.table_lines(summaries, console.width):
        console.print(line, markup=False)
    console.print(experiment_table.MEANINGS, markup=False, soft_wrap=False)
    for warning in warnings:
        console.print(f"Note: {warning}", markup=False)


def print_groups(groups: "list[ExperimentGroup]") -> None:
    """Print the figures of experiments by protocol, the best of each group first."""
    console = output_console()
    for group in groups:
        summaries = [item.summary for item in group.models]
        console.print(f"{group.title}, {summaries[0].n_images} images:", markup=False)
        for line in experiment_table.table_lines(summaries, console.width):
            console.print(line, markup=False)
    meanings = experiment_table.MEANINGS if groups else "no experiments yet"
    console.print(meanings, markup=False, soft_wrap=False)


def print_leakage(audit: dict[str, Any]) -> None:
    """Print what the test images of the splits share with training images."""
    console = output_console()
    from fer_ray.evaluation.protocols import leakage

    unknown = leakage.unknown_kinds(audit)
    known = ", as far as is known" if unknown else ""
    for line in leakage.describe_leaks(audit) or [
        f"test images share nothing with training{known}"
    ]:
        console.print(f"Leakage ({audit['protocol']}): {line}", markup=False)
    if unknown:
        console.print(f"Unknown for the test images: {', '.join(unknown)}", markup=False)


def print_chosen(chosen: list[dict[str, Any]]) -> None:
    """Print the candidates that a search selected in each trial."""
    console = output_console()
    console.print(
        "Models that each trial selected by cross-validation within its training part; several "
        "models of a trial vote by their mean probability:"
    )
    table = Table("trial", "classifier", "feature set", "parameters", "cross-validated accuracy",
                  box=None, pad_edge=False)  # fmt: skip
    for row in chosen:
        settings = ", ".join(f"{name}={value:.3g}" for name, value in row["parameters"].items())
        accuracy = f"{row['inner_accuracy']:.4f}"
        table.add_row(str(row["trial"]), row["classifier"], row["feature_set"], settings, accuracy)
    console.print(table)


def print_late_cohorts(cohorts: dict[str, dict[str, Any]]) -> None:
    """Print one line per experiment about contempt in the late cohort of CK+."""
    for name, late in cohorts.items():
        output_console().print(
            f"{name}: contempt among subjects S138 and later: recall "
            f"{format_share(late['recall'])}, precision {format_share(late['precision'])}; "
            f"predicted for {format_share(late['called_within'])} of their other faces and "
            f"{format_share(late['called_before'])} of the faces of earlier subjects",
            markup=False,
        )


def print_other_experiments(out: Path, names: list[str]) -> None:
    """Print how many other experiments the run folder has, and how to see them."""
    if names:
        what = "1 other experiment" if len(names) == 1 else f"{len(names)} other experiments"
        text = f"{what}: see `fer-ray summary --out {out}`"
        output_console().print(as_given(text), markup=False)


def print_comparison(first: str, second: str, comparison: "Comparison") -> None:
    """Print the paired difference of two experiments."""
    console = output_console()
    console.print(f"{first} − {second}", markup=False)
    interval = format_known("95% interval {:+.3f} – {:+.3f} ", *comparison.interval)
    p_value = format_known("p = {:.3g}", comparison.p_value)
    console.print(
        f"accuracy {comparison.difference:+.4f}, {interval or 'no interval '}"
        f"({comparison.method}); {p_value or 'no p-value'} ({comparison.test})"
    )
    console.print(f"uniquely correct: {comparison.only_first} of the first, "
                  f"{comparison.only_second} of the second")  # fmt: skip


def print_bundle(bundle: "Bundle") -> None:
    """Print what was saved, and the figures of its experiment."""
    console = output_console()
    for line in bundle_lines(bundle):
        console.print(as_given(line), markup=False)


def print_predictions(record: dict[str, Any], out: Path | None, rows: list[str]) -> None:
    """Print the answers, the evaluation, and the files written.

    Args:
        record: Record of the predictions.
        out: Folder of the files. None: no files remain.
        rows: Lines about each face. Empty: counts by status and emotion are printed instead.
    """
    console = output_console()
    if record.get("already_finished"):
        console.print("These predictions were already finished; nothing was recomputed.")
    for row in rows:
        console.print(row, markup=False)
    if not rows:
        console.print(_counts("status", record["counts"]))
        console.print(_counts("prediction", record["predicted"], "faces"))
    _print_quality(record["data"])
    _print_advice(record)
    for line in prediction_lines(record, out):
        console.print(as_given(line), markup=False)


def print_outcomes(outcomes: "list[Outcome]") -> None:
    """Print one line per run of `verify-determinism`, and what differs from the first."""
    table = Table("workers", "block", "executor", "rows (SHA-256)", "figures (SHA-256)", "seconds",
                  "compared with the first", box=None, pad_edge=False)  # fmt: skip
    for outcome in outcomes:
        division = outcome.division
        table.add_row(
            str(division.workers),
            str(division.block_images),
            division.executor,
            outcome.rows[:16],
            outcome.figures[:16] if outcome.figures else "no trials possible",
            f"{outcome.seconds:.1f}",
            f"differs: {', '.join(outcome.differing)}" if outcome.differing else "identical",
        )
    output_console().print(table)


def print_run(result: "RunOutcome") -> None:
    """Print the tables at the end of a complete run."""
    if result.already_finished:
        output_console().print("This run was already finished; nothing was recomputed.")
    print_extract(result.record["extract"], result.report.parent.parent)
    print_trials(result.summaries, result.record["warnings"])
    print_late_cohorts(result.record["late_cohorts"])
    for audit in result.record.get("leakage", ()):
        print_leakage(audit)
    if verdict := result.record.get("verdict"):  # records of earlier versions have none
        text = f"verdict: {verdict['headline']}. {verdict['sentence']}"
        output_console().print(text, markup=False)
    if result.record.get("groups"):
        from fer_ray.cli.output.audit_output import print_group_figures

        print_group_figures(result.report.parent.parent)
    output_console().print(as_given(f"report: {result.report}"), markup=False)


def output_console() -> Console:
    """Create a console for results on standard output; lines in a pipe are not cut."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, highlight=False, soft_wrap=True)


def print_model_files(rows: list[dict[str, Any]]) -> None:
    """Print the model files, and where those on this machine are."""
    table = Table("name", "used for", "licence", "commercial use", "MB", "file", box=None)
    for row in rows:
        size = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"
        allowed = "yes" if row["commercial_use"] else "no"
        path = row["path"] or "not on this machine"
        table.add_row(row["name"], row["purpose"], row["licence"], allowed, size, path)
    console = output_console()
    console.print(table)
    console.print("Hashes: fer-ray models --json. Download: fer-ray models fetch NAME")
