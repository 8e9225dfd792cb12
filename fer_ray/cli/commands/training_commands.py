"""The commands of `fer-ray` that train on extracted features and compare experiments."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fer_ray.cli.options import COMMON, OUT, PATH, SEARCH, STRICT, TRIALS
from fer_ray.cli.setting_options import settings_from
from fer_ray.execution.job import open_job
from fer_ray.storage.run_folder import frames_record, other_experiments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fer_ray.evaluation.experiments.results import ExperimentResults

WRITE_FOLDS = click.option(
    "--write-folds", type=PATH, metavar="FILE.csv",
    help="Write the splits to this file: image_id, trial, part.",
)  # fmt: skip


@click.command()
@OUT
@TRIALS
@WRITE_FOLDS
@STRICT
@COMMON
def trials(out: Path, as_json: bool, write_folds: Path | None, strict: bool,
           **options: Any) -> None:  # fmt: skip
    """Run repeated SVM trials on extracted features."""
    settings = settings_from(options)
    with open_job(out, as_json) as progress:
        from fer_ray.evaluation.experiments.results import read_experiments
        from fer_ray.pipelines.training.trials import run_trials

        record = run_trials(out, settings.trials, settings.execution, progress, strict, write_folds)
        experiments = read_experiments(out, *record["experiments"])
    _print_results(out, record, experiments, as_json)


@click.command()
@OUT
@SEARCH
@WRITE_FOLDS
@STRICT
@COMMON
def search(out: Path, as_json: bool, write_folds: Path | None, strict: bool,
           **options: Any) -> None:  # fmt: skip
    """Select features and classifier within each training part, and test the selected model."""
    settings = settings_from(options)
    with open_job(out, as_json) as progress:
        from fer_ray.evaluation.experiments.results import read_experiments
        from fer_ray.pipelines.training.search import run_search

        record = run_search(
            out, settings.search, settings.trials, settings.execution, progress, strict, write_folds
        )
        experiments = read_experiments(out, record["experiment"])
    _print_results(out, record, experiments, as_json)


def _print_results(
    out: Path, record: dict[str, Any], experiments: "Sequence[ExperimentResults]", as_json: bool
) -> None:
    from fer_ray.cli.output import console
    from fer_ray.evaluation.experiments.results import late_cohorts
    from fer_ray.evaluation.experiments.summary import summary_record

    summaries = [experiment.summary for experiment in experiments]
    cohorts = late_cohorts(frames_record(out)["data"], experiments)
    others = other_experiments(out, [summary.experiment for summary in summaries])
    if as_json:
        figures = [summary_record(summary) for summary in summaries]
        content = {"experiments": figures, "late_cohorts": cohorts, "other_experiments": others}
        click.echo(json.dumps({**record, **content}, ensure_ascii=False))
        return
    console.print_trials(summaries, record["warnings"])
    if "chosen" in record:
        console.print_chosen(record["chosen"])
    console.print_leakage(record["leakage"])
    console.print_late_cohorts(cohorts)
    console.print_other_experiments(out, others)


@click.command()
@OUT
@click.argument("first")
@click.argument("second")
def compare(out: Path, first: str, second: str) -> None:
    """Compare two experiments of a run folder, image by image: is FIRST better than SECOND?"""
    from fer_ray.cli.output import console
    from fer_ray.evaluation.comparison import compare_by_name
    from fer_ray.evaluation.experiments.results import read_experiments

    frames_record(out)
    console.print_comparison(first, second, compare_by_name(read_experiments(out), first, second))
