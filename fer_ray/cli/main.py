"""`fer-ray`: the jobs on the command line. Heavy libraries are imported where a job needs them."""

import json
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fer_ray import __version__
from fer_ray.cli.model_commands import bundle, predict
from fer_ray.cli.network_commands import bottleneck, heads, search_heads
from fer_ray.cli.options import (
    BACKBONES,
    BEYOND,
    COMMON,
    DATA,
    EXTRACT,
    FACES,
    JSON,
    OUT,
    STRICT,
    TRIALS,
    holding,
    progress_on,
    settings_of,
)
from fer_ray.cli.sweep_commands import diff, plan, retry_failed, sweep, verify
from fer_ray.cli.training_commands import compare, search, trials
from fer_ray.errors import UserError
from fer_ray.storage.run_folder import RunFolder
from fer_ray.vocabulary import ExitCode

if TYPE_CHECKING:
    from fer_ray.settings.root import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="fer-ray")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done.")
def cli(verbose: bool) -> None:
    """Facial expression recognition as a distributed batch job on Ray."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    if not verbose:
        warnings.simplefilter("ignore")  # of libraries; ours are part of the result


@cli.command()
@DATA
@OUT
@EXTRACT
@TRIALS
@BEYOND
@BACKBONES
@FACES
@STRICT
@COMMON
def run(data: Path, out: Path, show_faces: bool, strict: bool, fresh: bool,
        export_crops: Path | None, as_json: bool, **options: Any) -> None:  # fmt: skip
    """The whole job: extract, trials, report."""
    settings = settings_of(options)
    from fer_ray.cli import console
    from fer_ray.pipelines import run

    with holding(out, make=True), _exporting(export_crops, data, out, settings):
        result = run.run_all(data, out, settings, progress_on(as_json), show_faces, fresh, strict)
    if as_json:
        click.echo(json.dumps(result.record, ensure_ascii=False))
    else:
        console.print_run(result)
        for audited in result.record.get("leakage", ()):
            console.print_leakage(audited)


@cli.command()
@DATA
@OUT
@EXTRACT
@COMMON
def extract(data: Path, out: Path, fresh: bool, export_crops: Path | None, as_json: bool,
            **options: Any) -> None:  # fmt: skip
    """Faces, landmarks and features of all images, as Parquet."""
    settings = settings_of(options)
    from fer_ray.cli import console
    from fer_ray.pipelines import run

    with holding(out, make=True), _exporting(export_crops, data, out, settings):
        record = run.run_extract(data, out, settings, progress_on(as_json), fresh)
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        console.print_extract(record, out)


LEARNING = (bottleneck, heads, search_heads, trials, search, compare, bundle, predict)
SWEEPING = (sweep, plan, retry_failed, diff, verify)
for command in (*LEARNING, *SWEEPING):
    cli.add_command(command)


@cli.command()
@OUT
@click.option("--data", type=click.Path(path_type=Path), help="Where the images lie now.")
@FACES
@JSON
def report(out: Path, data: Path | None, show_faces: bool, as_json: bool) -> None:
    """The report, from what a run folder holds."""
    from fer_ray.pipelines import run

    if data is not None and not data.exists():
        raise UserError(f"There is no {data}. Leave --data out to look where the images were.")
    with holding(out), progress_on(as_json)("report", "pages", 1) as advance:
        page = run.run_report(out, data, show_faces)
        advance(1)
    click.echo(json.dumps({"report": str(page)}) if as_json else page)


@cli.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--subjects", type=click.IntRange(min=1), default=60, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=2010, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: processors]")
@JSON
def synth(out: Path, subjects: int, seed: int, workers: int | None, as_json: bool) -> None:
    """Draw the embedded corpus: synthetic faces in a tree shaped like CK+."""
    from fer_ray.synthetic.corpus import draw_corpus, frames_to_draw

    with progress_on(as_json)("draw", "frames", frames_to_draw(subjects, seed)) as advance:
        summary = draw_corpus(out, subjects, seed, workers, advance)
    if as_json:
        click.echo(json.dumps(asdict(summary)))
    else:
        click.echo(
            f"{out}: {summary.frames} frames, {summary.sequences} sequences, "
            f"{summary.subjects} subjects (synthetic)"
        )


@cli.command("verify-determinism")
@DATA
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Keep what each way gives."
)
@COMMON
def verify_determinism(data: Path, out: Path | None, as_json: bool,
                       **options: Any) -> None:  # fmt: skip
    """Hold rows and figures, bit for bit, against other block and batch sizes and 1 – 4 workers.

    --workers is the largest number that is tried.
    """
    settings = settings_of(options)
    from tempfile import TemporaryDirectory

    from fer_ray.cli import console
    from fer_ray.pipelines import verify_determinism

    most = settings.execution.workers or verify_determinism.MOST_WORKERS
    with TemporaryDirectory(prefix="fer-ray-") as scratch:
        outcomes = verify_determinism.verify(
            data, out or Path(scratch), settings, most, progress_on(as_json)
        )
    if as_json:
        click.echo(json.dumps([asdict(outcome) for outcome in outcomes]))
    else:
        console.print_outcomes(outcomes)
    if any(outcome.differing for outcome in outcomes):
        sys.exit(1)


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--landmark-model", type=click.Path(path_type=Path))
@click.option("--ray/--no-ray", "start_ray", default=True, help="Whether to try Ray's start-up.")
@JSON
def doctor(out: Path, landmark_model: Path | None, start_ray: bool, as_json: bool) -> None:
    """Check that everything is here that a job needs, and say how to mend what is not."""
    from fer_ray.doctor import examine

    findings = []
    for finding in examine(out, landmark_model, start_ray):
        findings.append(finding)
        if not as_json:
            click.echo(f"{'ok  ' if finding.ok else 'BAD '} {finding.subject}: {finding.text}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    if not all(finding.ok for finding in findings):
        sys.exit(1)


@contextmanager
def _exporting(target: Path | None, data: Path, out: Path, settings: "Settings") -> Iterator[None]:
    """Export crops at the end; a target that will not do is refused at the start."""
    if target is None:
        yield
        return
    from fer_ray.pipelines.export_crops import export_crops, require_target
    from fer_ray.sources.listing import layout_of, refuse_among_images, root_of

    refuse_among_images(target, root_of(data), layout_of(data, settings.extract.selection))
    require_target(target)
    yield
    made = settings.extract
    export_crops(RunFolder(out).frames, root_of(data), target, made.decode, made.crop.size_px)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: a user's mistake ends with one message and an exit code, never a traceback.

    Args:
        arguments: Instead of those of the process; `jobs/` put a command's name before these.
    """
    try:
        cli(arguments, prog_name="fer-ray", standalone_mode=False)
    except UserError as mistake:
        click.echo(f"fer-ray: {mistake}", err=True)
        sys.exit(mistake.exit_code)
    except click.ClickException as mistake:
        mistake.show()
        sys.exit(mistake.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("fer-ray: stopped. What was finished is kept: run the same again.", err=True)
        sys.exit(ExitCode.INTERRUPTED)
