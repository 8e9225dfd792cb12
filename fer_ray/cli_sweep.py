"""The commands of `fer-ray` that keep a store of results in step with a source of images."""

import json
import sys
from typing import Any

import click

from fer_ray.options import COMMON, RECIPE, SOURCE, STORE, SWEEP, progress_on, settings_of


@click.command()
@SOURCE
@STORE
@RECIPE
@SWEEP
@COMMON
def sweep(source: str, store: str, log_format: str, as_json: bool, **options: Any) -> None:
    """Bring a store in step with its source: only what is new or changed is worked on."""
    _run(source, store, log_format, as_json, options)


@click.command("retry-failed")
@SOURCE
@STORE
@RECIPE
@SWEEP
@COMMON
def retry_failed(source: str, store: str, log_format: str, as_json: bool, **options: Any) -> None:
    """A sweep that tries all failed images again: the same as `sweep --retry all`."""
    _run(source, store, log_format, as_json, {**options, "retry": "all"})


def _run(source: str, store: str, log_format: str, as_json: bool, options: dict[str, Any]) -> None:
    settings = settings_of(options)
    from fer_ray.sweep import show
    from fer_ray.sweep.run import run_sweep

    show.log_as(log_format)
    with _ray_closed():
        told = run_sweep(source, store, settings, progress_on(as_json))
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        show.print_sweep(told)
    if told["exit_code"]:
        click.echo(f"fer-ray: {told['problem']}", err=True)
        sys.exit(told["exit_code"])


def _ray_closed() -> Any:
    from fer_ray.runtime import ray_closed_after

    return ray_closed_after()
