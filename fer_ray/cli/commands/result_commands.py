"""The commands of `fer-ray` that show results: of a run folder, and of one image."""

import json
from pathlib import Path

import click

from fer_ray.cli.given_paths import as_given
from fer_ray.cli.options import GROUPS, IMAGES_MOVED, JSON, OUT, PATH, SHOW_FACES
from fer_ray.cli.repeated_options import RepeatedOptions
from fer_ray.errors import UserError
from fer_ray.execution.job import open_job
from fer_ray.storage.files import read_json
from fer_ray.storage.run_folder import RunFolder, frames_record


@click.command()
@OUT
@JSON
def summary(out: Path, as_json: bool) -> None:
    """Show the images and all experiments of a run folder, the best of each protocol first."""
    record = frames_record(out)
    from fer_ray.cli.output import console
    from fer_ray.evaluation.experiments.experiment_groups import group_experiments
    from fer_ray.evaluation.experiments.results import late_cohorts, read_experiments
    from fer_ray.evaluation.experiments.summary import summary_record

    groups = group_experiments(read_experiments(out))
    experiments = [item for group in groups for item in group.models]
    cohorts = late_cohorts(record["data"], experiments)
    page = RunFolder(out).report / "index.html"
    if as_json:
        figures = [summary_record(item.summary) for item in experiments]
        content = {"counts": record["counts"], "experiments": figures, "late_cohorts": cohorts}
        click.echo(json.dumps(content, ensure_ascii=False))
        return
    console.print_counts(record)
    console.print_groups(groups)
    console.print_late_cohorts(cohorts)
    missing = f"no report yet: run `fer-ray report --out {out}`"
    click.echo(as_given(f"report: {page}" if page.is_file() else missing))


@click.command(cls=RepeatedOptions)
@OUT
@IMAGES_MOVED
@GROUPS
@SHOW_FACES
@JSON
def report(out: Path, data: Path | None, groups: tuple[str, ...], show_faces: bool,
           as_json: bool) -> None:  # fmt: skip
    """Write the report from the contents of a run folder."""
    if data is not None and not data.exists():
        raise UserError(f"{data} does not exist. Correct --data, or omit it to use the old path.")
    with open_job(out, as_json) as progress, progress("report", "pages", 1) as advance:
        from fer_ray.cli.output.audit_output import print_group_figures
        from fer_ray.pipelines.report import run_report

        page = run_report(out, data, show_faces, groups)
        advance(1)
    if as_json:
        compared = read_json(RunFolder(out).groups_record) if groups else None
        by_column = {"groups": compared["columns"]} if compared else {}
        click.echo(json.dumps({"report": str(page), **by_column}, ensure_ascii=False))
        return
    if groups:
        print_group_figures(out)
    click.echo(as_given(page))


@click.command()
@click.argument("run", type=PATH)
@click.argument("image")
@IMAGES_MOVED
@click.option(
    "--png",
    type=PATH,
    metavar="FILE.png",
    help="Drawing of the image with box and landmarks.  [default: RUN/show/IMAGE.png]",
)
@JSON
def show(run: Path, image: str, data: Path | None, png: Path | None, as_json: bool) -> None:
    """Show the outcome of one image: status, faces, and the answers of each model.

    RUN is a run folder, or the results of `fer-ray predict`. IMAGE is the path of an image, or its
    image_id. The drawing shows faces.
    """
    from fer_ray.pipelines.prediction.inspect_image import inspect_image
    from fer_ray.storage.damage import damage_named

    with damage_named(run):
        found = inspect_image(run, image, data, png)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    from fer_ray.cli.output.image_lines import image_lines

    for line in image_lines(found):
        click.echo(as_given(line))
