"""The commands of `fer-ray` that examine sources and labels with trained models."""

import json
from pathlib import Path
from typing import Any

import click

from fer_ray.cli.job_setup import locked_run_folder, progress_on
from fer_ray.cli.options import COMMON, MODEL_RECIPE, PATH
from fer_ray.cli.repeated_options import RepeatedOptions
from fer_ray.cli.setting_options import settings_from


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
    """Train on each source and test on each, without people or pictures that occur in both."""
    settings = settings_from(options)
    from fer_ray.cli.audit_output import print_transfer
    from fer_ray.pipelines.transfer import run_transfer

    with locked_run_folder(out, create=True):
        record = run_transfer(
            [*train], [*(test or train)], out, settings.recommended_trials(), settings.execution,
            progress_on(as_json), subject_names == "shared",
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        print_transfer(record, out)
