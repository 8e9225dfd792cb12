"""What a sweep shows: its closing lines, and logs as text or as JSON."""

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

from fer_ray.errors import UserError
from fer_ray.vocabulary import PLAN_KINDS, ExitCode

logger = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and a sweep's figures."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "figures", {}),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


@contextmanager
def logged_as(log_format: str) -> Iterator[None]:
    """Log this package's doings on the error stream; as JSON, also what goes wrong.

    Raises:
        SystemExit: With the code of what went wrong, where it was logged as JSON.
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
    except UserError as mistake:
        tell_problem(str(mistake), mistake.exit_code, log_format)
        sys.exit(mistake.exit_code)
    except click.ClickException as mistake:
        tell_problem(mistake.format_message(), ExitCode.USER_ERROR, log_format)
        sys.exit(ExitCode.USER_ERROR)
    except KeyboardInterrupt:
        tell_problem("stopped", ExitCode.INTERRUPTED, log_format)
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:
        logger.exception("a bug", extra={"figures": {"exit_code": int(ExitCode.FAILED)}})
        sys.exit(ExitCode.FAILED)


def tell_problem(problem: str, code: int, log_format: str) -> None:
    """Say on the error stream why a command ends with this code."""
    if log_format == "json":
        logger.error("%s", problem, extra={"figures": {"exit_code": int(code)}})
    else:
        print(f"fer-ray: {problem}", file=sys.stderr)


def print_sweep(told: dict[str, Any]) -> None:
    """What was found, done and published."""
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False, soft_wrap=True)
    print_plan(told["planned"], console)
    published = told["published"]
    if not published["put"] and not published["delete"]:
        console.print("Nothing new: no row was changed.")
    else:
        console.print(
            f"{told['read']} images read, {told['described']} contents described; "
            f"{published['put']} rows written, {published['delete']} removed"
        )
    counts = Table("status", "images", box=None, pad_edge=False)
    for status, count in told["statuses"].items():
        counts.add_row(status, str(count))
    console.print(counts)
    for odd in told["quality"]:
        console.print(f"{odd['count']} {odd['meaning']} ({odd['examples'][0]} …)", markup=False)
    for kind in told["errors"][:5]:
        console.print(
            f"{kind['images']} {kind['status']}: {kind['error']} ({kind['examples'][0]} …)",
            markup=False,
        )
    for one in told["drift"]:
        if one["alert"]:
            console.print(f"Drift: {one['name']} is {one['share']:.1%}, was {one['before']:.1%}")
    console.print(f"page: {told['store']}/sweeps/{told['sweep']}.html", markup=False)
    console.print(f"sweep {told['sweep']}: {told['timings']['total']:.1f} s", markup=False)


def print_estimate(told: dict[str, Any]) -> None:
    """What the sweep would cost."""
    probe, console = told["probe"], Console(highlight=False)
    if not told["images_to_do"]:
        console.print("Nothing to do.")
        return
    expected = "no time is foretold: the cluster has no processors yet"
    if told["workers"]:
        expected = (
            f"{told['seconds_expected']:.0f} s with {told['workers']} workers, "
            f"{told['seconds_to_start']:.0f} s of it to start"
        )
    console.print(
        f"{told['images_to_do']} images to do at {probe['seconds_an_image']:.3f} s each (probe of "
        f"{probe['images']}): {told['core_hours']:.2f} core-hours, {expected}"
    )


def print_diff(found: dict[str, Any]) -> None:
    """What differs between two runs."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{found['images'][0]} and {found['images'][1]} images, {found['in_both']} in "
                  f"both, {found['other_recipe']} of them under another recipe")  # fmt: skip
    for kind, one in found["differing"].items():
        told = ", ".join(one["examples"])
        console.print(f"{kind.replace('_', ' ')}: {one['images']} ({told})", markup=False)
    for change in found["statuses"]:
        console.print(f"  {change['a']} → {change['b']}: {change['images']}")
    if "landmarks" in found["differing"]:
        moved = found["landmarks_px"]["largest"]
        console.print(f"landmarks of the same content differ by up to {moved:.3g} px")
    if not found["differing"]:
        console.print("No difference.")


def print_verified(found: dict[str, Any]) -> None:
    """What came out of computing a sample anew."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{found['same']} of {found['sampled']} images come out the same, bit for bit; "
                  f"{found['changed_since']} have changed since or are gone")  # fmt: skip
    for one in found["differing"][:20]:
        console.print(f"{one['path']} differs in {', '.join(one['columns'])}", markup=False)
    if not found["same"] and not found["differing"]:
        console.print("Nothing was verified: is --source where the images are now?")
    if not found["recipe_here"]:
        console.print("Settings, models or versions are not those that the store was made with.")


def print_plan(planned: dict[str, dict[str, int]], console: Console | None = None) -> None:
    """How many images of each kind, and their bytes."""
    table = Table("images", "MB", "", box=None, pad_edge=False)
    for kind, meaning in PLAN_KINDS.items():
        if kind in planned:
            found = planned[kind]
            table.add_row(str(found["images"]), f"{found['bytes'] / 1e6:.1f}", meaning)
    (console or Console(highlight=False)).print(table)
