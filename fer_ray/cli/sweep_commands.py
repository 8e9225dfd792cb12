"""The commands of `fer-ray` that keep a store of results in step with a source of images."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from fer_ray.cli.options import JSON, MODEL, SWEEP, WEIGHTS, named_files, progress_on, settings_of
from fer_ray.vocabulary import ExitCode


@click.command()
@SWEEP
def sweep(**options: Any) -> None:
    """Bring a store in step with its source: only what is new or changed is worked on."""
    _run(**options)


@click.command("retry-failed")
@SWEEP
def retry_failed(**options: Any) -> None:
    """A sweep that tries all failed images again: the same as `sweep --retry all`."""
    _run(**{**options, "retry": "all"})


def _run(as_json: bool, **options: Any) -> None:
    from fer_ray.cli import sweep_output
    from fer_ray.execution.session import ray_closed_after
    from fer_ray.pipelines.sweep import run_sweep

    log_format = options["log_format"]
    with sweep_output.logged_as(log_format), ray_closed_after():
        told = run_sweep(**_asked(as_json, **options))
        if as_json:
            click.echo(json.dumps(told, ensure_ascii=False))
        elif log_format == "text":
            sweep_output.print_sweep(told)
        if told["exit_code"]:
            sweep_output.tell_problem(told["problem"], told["exit_code"], log_format)
            sys.exit(told["exit_code"])


@click.command()
@SWEEP
def plan(as_json: bool, **options: Any) -> None:
    """What a sweep would do, and how long it would take, from a probe. Changes nothing."""
    from fer_ray.cli import sweep_output
    from fer_ray.execution.session import ray_closed_after
    from fer_ray.pipelines.plan import estimate
    from fer_ray.pipelines.sweeps.prepare import prepared

    with sweep_output.logged_as(options["log_format"]), ray_closed_after():
        asked = _asked(as_json, **options)
        with prepared(**asked) as sweep:
            told = {"source": asked["source"], "store": asked["store"], **estimate(sweep)}
        if as_json:
            click.echo(json.dumps(told, ensure_ascii=False))
        else:
            sweep_output.print_plan(told["planned"])
            sweep_output.print_estimate(told)


def _asked(as_json: bool, source: str, store: str, model: Path | None, weights: tuple[str, ...],
           log_format: str, check: str, **options: Any) -> dict[str, Any]:  # fmt: skip
    """What `run_sweep` and `prepared` take."""
    if check == "content":
        options["overrides"] = (*options["overrides"], "sweep.reread_share=1")
    return {
        "source": source, "store": store, "settings": settings_of(options), "model": model,
        "weights": named_files(weights), "progress": progress_on(as_json or log_format == "json"),
    }  # fmt: skip


@click.command()
@click.argument("run_a")
@click.argument("run_b")
@JSON
def diff(run_a: str, run_b: str, as_json: bool) -> None:
    """What differs between two runs: run folders, stores, or STORE@SWEEP as it was then.

    Ends with 1 if anything does.
    """
    from fer_ray.cli import sweep_output
    from fer_ray.pipelines.diff import compare_runs

    found = compare_runs(run_a, run_b)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        sweep_output.print_diff(found)
    sys.exit(ExitCode.FAILED if found["differing"] else ExitCode.DONE)


@click.command()
@click.argument("store")
@click.option("--sample", type=click.IntRange(min=1), default=50, show_default=True,
              help="Images that are computed anew.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample.")
@click.option("--source", metavar="URI", help="Where the images lie now.  [default: as swept]")
@click.option(
    "--landmark-model", type=click.Path(path_type=Path), help="If the store's is its own."
)
@MODEL
@WEIGHTS
@JSON
def verify(store: str, weights: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Compute a sample of a store anew and hold it against its rows.

    Ends with 1 if any differs, or if none could be computed.
    """
    from fer_ray.cli import sweep_output
    from fer_ray.pipelines.verify import verify_store

    found = verify_store(store, weights=named_files(weights), **options)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        sweep_output.print_verified(found)
    sys.exit(ExitCode.FAILED if found["differing"] or not found["same"] else ExitCode.DONE)
