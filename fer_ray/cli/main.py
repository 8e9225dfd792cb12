"""`fer-ray`: the command line. Commands import heavy libraries only when they run."""

import json
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fer_ray.cli.commands.audit_commands import label_issues, transfer
from fer_ray.cli.commands.model_commands import bundle, predict
from fer_ray.cli.commands.model_file_commands import models
from fer_ray.cli.commands.network_commands import bottleneck, heads, search_heads
from fer_ray.cli.commands.quickstart_command import quickstart
from fer_ray.cli.commands.result_commands import report, show, summary
from fer_ray.cli.commands.sweep_commands import diff, plan, retry_failed, sweep, verify
from fer_ray.cli.commands.tool_commands import completion, print_version, synth
from fer_ray.cli.commands.training_commands import compare, search, trials
from fer_ray.cli.job_setup import exporting_crops, start_child_ahead
from fer_ray.cli.options import (
    BACKBONES,
    COMMON,
    DATA,
    EXTRACT,
    GROUPS,
    JSON,
    LANDMARK_FILE,
    OUT,
    PATH,
    RECOMMENDED,
    SHOW_FACES,
    STRICT,
    TRACK,
    TRIALS,
)
from fer_ray.cli.output.error_messages import errors_as_messages
from fer_ray.cli.output.standard_streams import tolerant_streams
from fer_ray.cli.repeated_options import RepeatedOptions
from fer_ray.cli.sectioned_group import SectionedGroup
from fer_ray.cli.setting_options import settings_from
from fer_ray.execution.job import open_display_of_job, open_job
from fer_ray.pipelines.tracking import log_run, require_mlflow
from fer_ray.process_environment import fix_environment, restart_in_utf8
from fer_ray.storage.run_folder import RunFolder
from fer_ray.storage.user_folders import prepare_folders
from fer_ray.vocabulary import ExitCode


@click.group(
    cls=SectionedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version,
    help="Print the versions of fer_ray and its libraries, for bug reports, and exit.",
)  # fmt: skip
@click.option("-v", "--verbose", is_flag=True, help="Log each step.")
def cli(verbose: bool) -> None:
    """Facial expression recognition as a distributed batch job on Ray.

    Start with `fer-ray quickstart`, or with `fer-ray run --data TREE --out DIR` on your own images.
    """
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    if not verbose:
        warnings.simplefilter("ignore")  # of libraries; those of fer_ray are part of the result
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # no font cache is fine
    elif sys.warnoptions:
        warnings.simplefilter("default")  # an option of Python may turn them into errors


@cli.command(cls=RepeatedOptions)
@DATA
@OUT
@EXTRACT
@TRIALS
@RECOMMENDED
@BACKBONES
@GROUPS
@SHOW_FACES
@STRICT
@TRACK
@COMMON
def run(data: Path, out: Path, show_faces: bool, strict: bool, fresh: bool, track: str | None,
        export_crops: Path | None, groups: tuple[str, ...], as_json: bool,
        **options: Any) -> None:  # fmt: skip
    """Run the complete job: extract, trials, report."""
    settings = settings_from(options)
    if track:
        require_mlflow()
    start_child_ahead(RunFolder(out).extract_record)
    with (
        open_job(out, as_json, create=True) as progress,
        exporting_crops(export_crops, data, out, settings),
    ):
        from fer_ray.cli.output import console
        from fer_ray.pipelines import run

        result = run.run_all(data, out, settings, progress, show_faces, fresh, strict, groups)
        if track:
            log_run(out, result.record)
    if as_json:
        click.echo(json.dumps(result.record, ensure_ascii=False))
    else:
        console.print_run(result)


@cli.command()
@DATA
@OUT
@EXTRACT
@COMMON
def extract(data: Path, out: Path, fresh: bool, export_crops: Path | None, as_json: bool,
            **options: Any) -> None:  # fmt: skip
    """Extract faces, landmarks and features of all images, as Parquet."""
    settings = settings_from(options)
    start_child_ahead(RunFolder(out).extract_record)
    with (
        open_job(out, as_json, create=True) as progress,
        exporting_crops(export_crops, data, out, settings),
    ):
        from fer_ray.cli.output import console
        from fer_ray.pipelines import run

        record = run.run_extract(data, out, settings, progress, fresh)
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        console.print_extract(record, out)


@cli.command("verify-determinism")
@DATA
@click.option("--out", type=PATH, metavar="DIR", help="Keep the results of each run.")
@COMMON
def verify_determinism(data: Path, out: Path | None, as_json: bool,
                       **options: Any) -> None:  # fmt: skip
    """Compare results, bit for bit, across executors, block sizes and 1 to 4 workers.

    --workers is the largest number of workers to try.
    """
    settings = settings_from(options)
    from tempfile import TemporaryDirectory

    from fer_ray.cli.output import console
    from fer_ray.pipelines.audit import verify_determinism

    max_workers = settings.execution.workers or verify_determinism.MAX_WORKERS
    with (
        open_display_of_job(as_json) as progress,
        TemporaryDirectory(prefix="fer-ray-") as scratch,
    ):
        outcomes = verify_determinism.verify(
            data, out or Path(scratch), settings, max_workers, progress
        )
    if as_json:
        click.echo(json.dumps([asdict(outcome) for outcome in outcomes]))
    else:
        console.print_outcomes(outcomes)
    if any(outcome.differing for outcome in outcomes):
        sys.exit(ExitCode.FAILED)


@cli.command()
@click.option(
    "--out",
    type=PATH,
    default="runs",
    show_default=True,
    help="Folder that a job would write to.",
)
@LANDMARK_FILE
@click.option("--ray/--no-ray", "start_ray", default=True, help="Start Ray, to check it.")
@click.option(
    "--cluster",
    type=PATH,
    help="Check this file for `ray up` instead: its values, and the files that it mounts.",
)
@JSON
def doctor(
    out: Path, landmark_file: str | None, start_ray: bool, cluster: Path | None, as_json: bool
) -> None:
    """Check the installation, and say how to fix what is missing."""
    from fer_ray.doctor import cluster_check, run_checks

    checks = []
    everything = run_checks(out, landmark_file, start_ray)
    for check in everything if cluster is None else cluster_check(cluster):
        checks.append(check)
        if not as_json:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'} {check.subject}: {check.text}")
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks]))
    if not all(check.ok for check in checks):
        sys.exit(ExitCode.FAILED)


RUNS = (run, extract, trials, search, compare, transfer, label_issues, summary, show, report)
NETWORKS = (bottleneck, heads, search_heads)
MODELS = (bundle, predict)
SWEEPS = (plan, sweep, retry_failed, verify, diff)
TOOLS = (quickstart, synth, models, doctor, verify_determinism, completion)
SECTIONS = {"Runs": RUNS, "Networks": NETWORKS, "Models": MODELS, "Sweeps": SWEEPS, "Tools": TOOLS}
for title, commands in SECTIONS.items():
    for command in commands:
        cli.add_command(command)
    cli.sections[title] = tuple(str(command.name) for command in commands)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. User errors print one message, without a traceback.

    Args:
        arguments: Arguments in place of those of the process; the scripts in `jobs/` put the name
            of a command first.

    Raises:
        SystemExit: With the exit code of an error.
    """
    if arguments is None:
        restart_in_utf8()
    fix_environment()
    with tolerant_streams(), errors_as_messages():
        prepare_folders()
        cli(arguments, prog_name="fer-ray", standalone_mode=False)
