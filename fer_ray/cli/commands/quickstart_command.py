"""`fer-ray quickstart`: the synthetic corpus and the complete job on it."""

import json
from pathlib import Path

import click

from fer_ray.cli.job_setup import start_child_ahead
from fer_ray.cli.options import JSON, PATH, SUBJECTS, WORKERS
from fer_ray.cli.setting_options import settings_from
from fer_ray.execution.job import open_job
from fer_ray.storage.run_folder import RunFolder

# The weights of this backbone are part of a dependency, so nothing is downloaded.
SETTINGS = ("recommended=true", "deep.backbones=[dlib_resnet]")


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), default="corpus", show_default=True,
    help="Folder of the corpus.",
)  # fmt: skip
@click.option("--out", type=PATH, default="runs/corpus", show_default=True, help="Run folder.")
@SUBJECTS
@WORKERS
@JSON
def quickstart(data: Path, out: Path, subjects: int, workers: int | None, as_json: bool) -> None:
    """Generate the synthetic corpus and run the complete job on it."""
    settings = settings_from({"overrides": SETTINGS, "workers": workers})
    start_child_ahead(RunFolder(out).extract_record)
    with open_job(out, as_json, create=True) as progress:
        from fer_ray.cli.output import console
        from fer_ray.pipelines import run
        from fer_ray.synthetic.corpus import count_frames, generate_corpus

        with progress("generate", "frames", count_frames(subjects)) as advance:
            generate_corpus(data, subjects, workers=workers, on_frame=advance)
        result = run.run_all(data, out, settings, progress)
    if as_json:
        click.echo(json.dumps(result.record, ensure_ascii=False))
        return
    console.print_run(result)
    click.echo(
        "next: put your images into folders named after emotions, such as photos/happy, and run "
        "`fer-ray run --data photos --out runs/photos`"
    )
