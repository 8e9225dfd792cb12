"""The commands of `fer-ray` that learn from extracted features."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fer_ray.cli.options import (
    COMMON,
    OUT,
    SEARCH,
    STRICT,
    TRIALS,
    holding,
    progress_on,
    settings_of,
)
from fer_ray.storage.run_folder import frames_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fer_ray.evaluation.results import ExperimentResults

WRITE_FOLDS = click.option(
    "--write-folds",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Write the splits: image_id, trial, part.",
)


@click.command()
@OUT
@TRIALS
@WRITE_FOLDS
@STRICT
@COMMON
def trials(out: Path, as_json: bool, write_folds: Path | None, strict: bool,
           **options: Any) -> None:  # fmt: skip
    """Repeated SVM trials on extracted features."""
    settings = settings_of(options)
    from fer_ray.evaluation.results import read_experiments
    from fer_ray.pipelines.trials import run_trials

    with holding(out):
        record = run_trials(
            out, settings.trials, settings.execution, progress_on(as_json), strict, write_folds
        )
        experiments = read_experiments(out)
    _print_results(out, record, experiments, as_json)


@click.command()
@OUT
@SEARCH
@WRITE_FOLDS
@STRICT
@COMMON
def search(out: Path, as_json: bool, write_folds: Path | None, strict: bool,
           **options: Any) -> None:  # fmt: skip
    """Choose features and classifier inside each training part, and test what was chosen."""
    settings = settings_of(options)
    from fer_ray.evaluation.results import read_experiments
    from fer_ray.pipelines.search import run_search

    with holding(out):
        record = run_search(
            out, settings.search, settings.trials, settings.execution, progress_on(as_json),
            strict, write_folds,
        )  # fmt: skip
        experiments = read_experiments(out, record["experiment"])
    _print_results(out, record, experiments, as_json)


def _print_results(
    out: Path, record: dict[str, Any], experiments: "Sequence[ExperimentResults]", as_json: bool
) -> None:
    from fer_ray.cli import console
    from fer_ray.evaluation.results import late_cohorts
    from fer_ray.evaluation.summary import figures_of

    summaries = [item.summary for item in experiments]
    late = late_cohorts(frames_record(out)["data"], experiments)
    if as_json:
        figures = [figures_of(summary) for summary in summaries]
        found = {**record, "experiments": figures, "late_cohorts": late}
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    console.print_trials(summaries, record["warnings"])
    if "chosen" in record:
        console.print_chosen(record["chosen"])
    console.print_leakage(record["leakage"])
    console.print_late_cohorts(late)


@click.command()
@OUT
@click.argument("first")
@click.argument("second")
def compare(out: Path, first: str, second: str) -> None:
    """Two experiments of a run folder, image by image: is FIRST better than SECOND?"""
    from fer_ray.cli import console
    from fer_ray.evaluation.compare import compare_named
    from fer_ray.evaluation.results import read_experiments

    frames_record(out)
    console.print_comparison(first, second, compare_named(read_experiments(out), first, second))
