"""The commands of `fer-ray` that save a model and apply it."""

import json
from pathlib import Path
from typing import Any

import click

from fer_ray.cli.job_setup import locked_run_folder, progress_on, start_child_ahead
from fer_ray.cli.options import (
    ABSTAIN_BELOW,
    DATASET,
    FACES,
    HIDDEN_FILES,
    JSON,
    LABEL_CODES,
    LANDMARK_FILE,
    LAYOUT,
    OUT,
    PATH,
    SHOW_FACES,
    WEIGHTS,
    WORKERS,
    parse_weights,
)
from fer_ray.cli.setting_options import settings_from
from fer_ray.storage.run_folder import PredictionFolder


@click.command()
@OUT
@click.option(
    "--to",
    "target",
    type=PATH,
    required=True,
    metavar="DIR",
    help="Folder of the bundle, which must be empty or not exist.",
)
@click.option(
    "--experiment",
    metavar="NAME",
    help="The experiment.  [default: the best SVM or head with several trials]",
)
@JSON
def bundle(out: Path, target: Path, experiment: str | None, as_json: bool) -> None:
    """Fit an experiment's model on all images of a run folder and save it without pickle."""
    from fer_ray.cli import console
    from fer_ray.pipelines.make_bundle import make_bundle

    with locked_run_folder(out):
        predictor = make_bundle(out, target, experiment)
    if as_json:
        content = predictor.bundle.manifest.model_dump(mode="json")
        click.echo(json.dumps({"sha256": predictor.sha256, **content}, ensure_ascii=False))
    else:
        console.print_bundle(predictor.bundle)


@click.command()
@click.argument("model", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, required=True, help="Results folder.")
@LAYOUT
@DATASET
@LABEL_CODES
@HIDDEN_FILES
@LANDMARK_FILE
@WEIGHTS
@FACES
@ABSTAIN_BELOW
@click.option(
    "--sheet",
    is_flag=True,
    help="Draw a contact sheet, DIR/sheet.png: images with box and prediction.",
)
@SHOW_FACES
@click.option("--fresh", is_flag=True, help="Replace other predictions in --out.")
@WORKERS
@JSON
def predict(model: Path, out: Path, images: tuple[Path, ...], weights: tuple[str, ...],
            sheet: bool, show_faces: bool, fresh: bool, as_json: bool,
            **options: Any) -> None:  # fmt: skip
    """Predict IMAGES (files, folders or CSV files) with the bundle MODEL."""
    settings = settings_from(options)
    start_child_ahead(PredictionFolder(out).record)
    from fer_ray.cli import console
    from fer_ray.pipelines.predict import run_predict

    extract = settings.extract
    with locked_run_folder(out, create=True):
        record = run_predict(
            model, [*images], out, settings.execution, progress_on(as_json),
            extract.selection, extract.landmarks.file, parse_weights(weights),
            extract.crop.faces, fresh, sheet, show_faces, settings.predict.abstain_below,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        console.print_predictions(record, out)
