"""The commands of `fer-ray` that examine sources and labels with trained models."""

import json
from pathlib import Path
from typing import Any

import click

from fer_ray.cli.options import (
    COMMON,
    IMAGES_MOVED,
    JSON,
    MODEL_RECIPE,
    OUT,
    PATH,
    SHOW_FACES,
)
from fer_ray.cli.repeated_options import RepeatedOptions
from fer_ray.cli.setting_options import settings_from
from fer_ray.execution.job import open_job


@click.command(cls=RepeatedOptions)
@click.option(
    "--train", type=PATH, multiple=True, required=True, metavar="RUN...",
    help="Run folders to train on.",
)  # fmt: skip
@click.option(
    "--test", type=PATH, multiple=True, metavar="RUN...",
    help="Run folders to test on.  [default: those of --train]",
)  # fmt: skip
@click.option("--out", type=PATH, required=True, metavar="DIR", help="Folder of the results.")
@MODEL_RECIPE
@click.option(
    "--subject-names", type=click.Choice(["shared", "separate"]), default="shared",
    show_default=True,
    help="shared: equal names in two sources are one person; separate: they are two people.",
)  # fmt: skip
@COMMON
def transfer(train: tuple[Path, ...], test: tuple[Path, ...], out: Path, subject_names: str,
             as_json: bool, **options: Any) -> None:  # fmt: skip
    """Train on each source and test on each, excluding people and pictures that occur in both."""
    settings = settings_from(options)
    from fer_ray.cli.output.audit_output import print_transfer
    from fer_ray.pipelines.transfer import run_transfer

    with open_job(out, as_json, create=True) as progress:
        record = run_transfer(
            [*train], [*(test or train)], out, settings.transfer_trials(), settings.execution,
            progress, subject_names == "shared",
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        print_transfer(record, out)


@click.command("label-issues")
@OUT
@click.option(
    "--experiment", metavar="NAME",
    help="Experiment whose test predictions to use.  [default: the best one]",
)  # fmt: skip
@click.option(
    "--csv", "csv_file", type=PATH, metavar="FILE.csv",
    help="Write all labels to this file, the most suspicious first, for you to correct.",
)  # fmt: skip
@IMAGES_MOVED
@SHOW_FACES
@JSON
def label_issues(out: Path, experiment: str | None, csv_file: Path | None, data: Path | None,
                 show_faces: bool, as_json: bool) -> None:  # fmt: skip
    """Find labels that look wrong, and pictures that occur under two labels."""
    from fer_ray.cli.output.audit_output import print_label_issues
    from fer_ray.pipelines.audit.find_label_issues import find_label_issues

    with open_job(out, as_json):
        record = find_label_issues(out, experiment, csv_file, data, show_faces)
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        print_label_issues(record)
