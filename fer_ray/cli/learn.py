"""The commands of `fer-ray` that learn from extracted features."""

import json
from pathlib import Path
from typing import Any

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
    from fer_ray import experiments, job
    from fer_ray.cli import console

    with holding(out):
        record = experiments.run_trials(
            out, settings.trials, settings.execution, progress_on(as_json), strict, write_folds
        )
        summaries = job.summaries_of(out)
    if as_json:
        from fer_ray.learn.summary import figures_of

        figures = [figures_of(summary) for summary in summaries]
        late = experiments.late_cohorts(out)
        found = {**record, "experiments": figures, "late_cohorts": late}
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        console.print_trials(summaries, record["warnings"])
        console.print_leakage(record["leakage"])
        console.print_late_cohorts(experiments.late_cohorts(out))


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
    from fer_ray import experiments, job
    from fer_ray.cli import console

    with holding(out):
        record = experiments.run_search(
            out, settings.search, settings.trials, settings.execution, progress_on(as_json),
            strict, write_folds,
        )  # fmt: skip
        name = record["experiment"]
        summaries = [one for one in job.summaries_of(out) if one.experiment == name]
        late = {key: one for key, one in experiments.late_cohorts(out).items() if key == name}
    if as_json:
        from fer_ray.learn.summary import figures_of

        figures = [figures_of(summary) for summary in summaries]
        found = {**record, "experiments": figures, "late_cohorts": late}
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        console.print_trials(summaries, record["warnings"])
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
    from fer_ray.experiments import frames_record
    from fer_ray.learn.compare import compare_named
    from fer_ray.learn.trials import read_experiments

    frames_record(out)
    console.print_comparison(first, second, compare_named(read_experiments(out), first, second))
