"""The commands of `fer-ray` that save a model and apply it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from fer_ray.cli.job_setup import start_child_ahead
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
from fer_ray.execution.job import open_job
from fer_ray.storage.run_folder import PredictionFolder

ROW_FORMATS = ("table", "json", "csv", "parquet")


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
    with open_job(out, as_json):
        from fer_ray.cli.output import console
        from fer_ray.pipelines.training.make_bundle import make_bundle

        predictor = make_bundle(out, target, experiment)
    if as_json:
        content = predictor.bundle.manifest.model_dump(mode="json")
        click.echo(json.dumps({"sha256": predictor.sha256, **content}, ensure_ascii=False))
    else:
        console.print_bundle(predictor.bundle)


@click.command()
@click.argument("model", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option(
    "--out", type=PATH, help="Results folder.  [default: none; the results are only printed]"
)
@click.option(
    "--format", "row_format", type=click.Choice(ROW_FORMATS), default="table",
    show_default=True,
    help="What to print. table: a row per face for up to 20 images, otherwise counts; json, csv, "
    "parquet: all rows.",
)  # fmt: skip
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
def predict(model: Path, out: Path | None, images: tuple[Path, ...], weights: tuple[str, ...],
            row_format: str, sheet: bool, show_faces: bool, fresh: bool, as_json: bool,
            **options: Any) -> None:  # fmt: skip
    """Predict IMAGES (files, folders or CSV files) with the bundle MODEL."""
    settings = settings_from(options)
    if out is None and (sheet or show_faces):
        raise click.UsageError("--sheet and --show-faces write files: add --out.")
    if as_json and row_format != "table":
        raise click.UsageError("--json prints the record, --format the rows: pass one of them.")
    extract = settings.extract
    with _results_folder(out) as folder:
        start_child_ahead(PredictionFolder(folder).record)
        with open_job(folder, as_json, create=True) as progress:
            from fer_ray.pipelines.prediction.predict import run_predict

            record = run_predict(
                model, [*images], folder, settings.execution, progress,
                extract.selection, extract.landmarks.file, parse_weights(weights),
                extract.crop.faces, fresh, sheet, show_faces, settings.predict.abstain_below,
            )  # fmt: skip
        if as_json:
            click.echo(json.dumps(record, ensure_ascii=False))
        else:
            _print_rows(record, folder, out, row_format)


@contextmanager
def _results_folder(out: Path | None) -> Iterator[Path]:
    """The folder of the results; a temporary one if none is given."""
    if out is not None:
        yield out
        return
    with TemporaryDirectory(prefix="fer-ray-") as folder:
        yield Path(folder)


def _print_rows(record: dict[str, Any], folder: Path, out: Path | None, row_format: str) -> None:
    from fer_ray.cli.output import console, prediction_rows

    rows = PredictionFolder(folder).predictions
    if row_format != "table":
        prediction_rows.write_rows(rows, row_format)
        return
    few = record["data"]["selected"] <= prediction_rows.FEW_IMAGES
    console.print_predictions(record, out, [*prediction_rows.row_lines(rows)] if few else [])
