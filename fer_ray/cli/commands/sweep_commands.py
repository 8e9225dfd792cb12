"""The commands of `fer-ray` that maintain a store from a source, and compare or verify stores."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fer_ray.cli.given_paths import remember
from fer_ray.cli.options import (
    JSON,
    LANDMARK_FILE,
    PATH,
    SWEEP,
    WEIGHTS,
    parse_weights,
)
from fer_ray.cli.setting_options import settings_from
from fer_ray.execution.job import open_display_of_job
from fer_ray.storage.paths import to_path
from fer_ray.vocabulary import ExitCode

if TYPE_CHECKING:
    from fer_ray.execution.progress import Progress
    from fer_ray.pipelines.sweeps.context import SweepRequest


@click.command()
@SWEEP
def sweep(**options: Any) -> None:
    """Update a store from its source: only new, changed or outdated images are processed."""
    _run(**options)


@click.command("retry-failed")
@SWEEP
def retry_failed(**options: Any) -> None:
    """Run a sweep that retries all failed images, like `sweep --retry all`."""
    _run(**{**options, "retry": "all"})


def _run(as_json: bool, **options: Any) -> None:
    from fer_ray.cli.output import sweep_output
    from fer_ray.execution.cluster.session import ray_closed_after

    log_format = options["log_format"]
    with sweep_output.logging_as(log_format), ray_closed_after():
        with open_display_of_job(as_json or log_format == "json") as progress:
            from fer_ray.pipelines.sweep import run_sweep

            manifest = run_sweep(_request(progress, **options))
        if as_json:
            click.echo(json.dumps(manifest, ensure_ascii=False))
        elif log_format == "text":
            sweep_output.print_sweep(manifest)
        if manifest["exit_code"]:
            sweep_output.print_error(manifest["problem"], manifest["exit_code"], log_format)
            sys.exit(manifest["exit_code"])


@click.command()
@SWEEP
def plan(as_json: bool, **options: Any) -> None:
    """Estimate what a sweep would process and how long it would take. Changes nothing."""
    from fer_ray.cli.output import sweep_output
    from fer_ray.execution.cluster.session import ray_closed_after

    log_format = options["log_format"]
    with sweep_output.logging_as(log_format), ray_closed_after():
        with open_display_of_job(as_json or log_format == "json") as progress:
            from fer_ray.pipelines.plan import plan_sweep

            request = _request(progress, **options)
            estimate = {"source": request.source, "store": request.store, **plan_sweep(request)}
        if as_json:
            click.echo(json.dumps(estimate, ensure_ascii=False))
        else:
            sweep_output.print_plan(estimate["planned"])
            sweep_output.print_estimate(estimate)


def _request(progress: "Progress", source: str, store: str, model: Path | None,
             weights: tuple[str, ...], log_format: str, check: str,
             **options: Any) -> "SweepRequest":  # fmt: skip
    from fer_ray.pipelines.sweeps.context import SweepRequest

    for text in (source, store):
        if "://" not in text:
            remember(to_path(text), text)
    if check == "content":
        options["overrides"] = (*options["overrides"], "sweep.reread_share=1")
    return SweepRequest(
        source, store, settings_from(options), progress, model, parse_weights(weights)
    )


@click.command()
@click.argument("run_a")
@click.argument("run_b")
@JSON
def diff(run_a: str, run_b: str, as_json: bool) -> None:
    """Compare two runs: run folders, stores, or STORE@SWEEP for a store as of that sweep.

    Exits with 1 if anything differs.
    """
    from fer_ray.cli.output import sweep_output
    from fer_ray.pipelines.audit.diff import compare_runs

    comparison = compare_runs(run_a, run_b)
    if as_json:
        click.echo(json.dumps(comparison, ensure_ascii=False))
    else:
        sweep_output.print_diff(comparison)
    sys.exit(ExitCode.FAILED if comparison["differing"] else ExitCode.DONE)


@click.command()
@click.argument("store")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Number of images to recompute.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sample.")
@click.option(
    "--source", metavar="URI", help="Where the images are now.  [default: the source of the store]"
)
@LANDMARK_FILE
@click.option(
    "--model", type=PATH, metavar="BUNDLE",
    help="The bundle whose predictions the store contains.",
)  # fmt: skip
@WEIGHTS
@JSON
def verify(store: str, weights: tuple[str, ...], landmark_file: str | None, as_json: bool,
           **options: Any) -> None:  # fmt: skip
    """Recompute a sample of a store and compare it with the stored rows.

    Exits with 1 if any differs, or if no image could be recomputed.
    """
    from fer_ray.cli.output import sweep_output
    from fer_ray.pipelines.audit.verify import verify_store

    verification = verify_store(
        store, landmark_file=landmark_file, weights=parse_weights(weights), **options
    )
    if as_json:
        click.echo(json.dumps(verification, ensure_ascii=False))
    else:
        sweep_output.print_verified(verification)
    failed = verification["differing"] or not verification["same"]
    sys.exit(ExitCode.FAILED if failed else ExitCode.DONE)
