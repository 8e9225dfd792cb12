"""Output of the sweep commands: summaries as text, and logs as text or JSON."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fer_ray.cli.given_paths import as_given
from fer_ray.errors import UserError
from fer_ray.sources.quality import describe_issue, label_lines
from fer_ray.vocabulary import PLAN_KINDS, ExitCode

MAX_ERRORS = 5  # kinds of errors in a summary
MAX_DIFFERING = 20  # images in the summary of a verification

logger = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """One JSON object per line: UTC time, level, logger, message, and the figures of a sweep."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record as a line of JSON."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "figures", {}),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


@contextmanager
def logging_as(log_format: str) -> Iterator[None]:
    """Log to standard error in the given format; as JSON, errors are logged as well.

    Raises:
        SystemExit: With the exit code of an error that was logged as JSON.
    """
    if log_format != "json":
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.getLogger("fer_ray").setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    except UserError as error:
        print_error(str(error), error.exit_code, log_format)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        print_error(error.format_message(), ExitCode.USER_ERROR, log_format)
        sys.exit(ExitCode.USER_ERROR)
    except KeyboardInterrupt:
        print_error("interrupted", ExitCode.INTERRUPTED, log_format)
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:
        logger.exception("internal error", extra={"figures": {"exit_code": int(ExitCode.FAILED)}})
        sys.exit(ExitCode.FAILED)


def print_error(message: str, code: int, log_format: str) -> None:
    """Write the reason for a non-zero exit code to standard error."""
    if log_format == "json":
        logger.error("%s", message, extra={"figures": {"exit_code": int(code)}})
    else:
        print(f"fer-ray: {as_given(message)}", file=sys.stderr)


def print_sweep(manifest: dict[str, Any]) -> None:
    """Print a summary of a sweep."""
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False, soft_wrap=True)
    print_plan(manifest["planned"], console)
    published = manifest["published"]
    if not published["put"] and not published["delete"]:
        console.print("Nothing new: no row was changed.")
    else:
        console.print(
            f"{manifest['read']} images read, {manifest['described']} contents processed; "
            f"{published['put']} rows written, {published['delete']} deleted"
        )
    counts = Table("status", "images", box=None, pad_edge=False)
    for status, count in manifest["statuses"].items():
        counts.add_row(status, str(count))
    console.print(counts)
    _print_issues(manifest, console)
    page = f"{manifest['store']}/sweeps/{manifest['sweep']}.html"
    console.print(as_given(f"page: {page}"), markup=False)
    console.print(f"sweep {manifest['sweep']}: {manifest['timings']['total']:.1f} s", markup=False)


def _print_issues(manifest: dict[str, Any], console: Console) -> None:
    for line in label_lines(manifest["labels_by_emotion"], manifest["class_folders"]):
        console.print(line, markup=False)
    for issue in manifest["quality"]:
        console.print(describe_issue(issue), markup=False)
    for error in manifest["errors"][:MAX_ERRORS]:
        console.print(
            f"{error['images']} {error['status']}: {error['error']} ({error['examples'][0]} …)",
            markup=False,
        )
    for advice in manifest.get("advice", []):
        console.print(f"Note: {advice}", markup=False)
    for drift in manifest["drift"]:
        if drift["alert"]:
            console.print(
                f"Drift: {drift['name']} is {drift['share']:.1%}; before, it was "
                f"{drift['before']:.1%}"
            )


def print_estimate(estimate: dict[str, Any]) -> None:
    """Print the estimated cost of a sweep."""
    probe, console = estimate["probe"], Console(highlight=False)
    if not estimate["images_to_do"]:
        console.print("Nothing to do.")
        return
    duration = "duration unknown: the cluster has no CPUs yet"
    if estimate["workers"]:
        duration = (
            f"{estimate['seconds_expected']:.0f} s with {estimate['workers']} workers, including "
            f"{estimate['seconds_to_start']:.0f} s to start"
        )
    console.print(
        f"{estimate['images_to_do']} images to process at {probe['seconds_an_image']:.3f} s each "
        f"(probe of {probe['images']}): {estimate['core_hours']:.2f} CPU-hours, {duration}"
    )


def print_diff(comparison: dict[str, Any]) -> None:
    """Print the differences between two runs."""
    console = Console(highlight=False, soft_wrap=True)
    images_a, images_b = comparison["images"]
    console.print(f"{images_a} and {images_b} images, {comparison['in_both']} in both, "
                  f"{comparison['other_recipe']} of them with different recipes")  # fmt: skip
    for kind, difference in comparison["differing"].items():
        examples = ", ".join(difference["examples"])
        console.print(f"{kind.replace('_', ' ')}: {difference['images']} ({examples})",
                      markup=False)  # fmt: skip
    for change in comparison["statuses"]:
        console.print(f"  {change['a']} → {change['b']}: {change['images']}")
    if "landmarks" in comparison["differing"]:
        largest = comparison["landmarks_px"]["largest"]
        console.print(f"landmarks of the same content differ by up to {largest:.3g} px")
    if not comparison["differing"]:
        console.print("No differences.")


def print_verified(verification: dict[str, Any]) -> None:
    """Print the result of a verification."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{verification['same']} of {verification['sampled']} images are identical, bit for bit; "
        f"{verification['changed_since']} have changed or are gone"
    )
    for image in verification["differing"][:MAX_DIFFERING]:
        console.print(f"{image['path']} differs in {', '.join(image['columns'])}", markup=False)
    if not verification["same"] and not verification["differing"]:
        console.print("No image could be verified. Check that --source points to the images.")
    if not verification["recipe_here"]:
        console.print(
            "The settings, models or versions differ from those of the store, so rows may differ."
        )


def print_plan(planned: dict[str, dict[str, int]], console: Console | None = None) -> None:
    """Print the number of images and megabytes by kind of work."""
    table = Table("images", "MB", "", box=None, pad_edge=False)
    for kind, meaning in PLAN_KINDS.items():
        if kind in planned:
            count, size = planned[kind]["images"], planned[kind]["bytes"]
            table.add_row(str(count), f"{size / 1e6:.1f}", meaning)
    (console or Console(highlight=False)).print(table)
