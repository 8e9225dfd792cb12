"""What a sweep shows: its closing lines, and logs as text or as JSON."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

MEANINGS = {
    "new": "new",
    "changed": "changed, by size or time",
    "recipe": "made under another recipe",
    "failed": "failed before, tried again",
    "missing": "without their results",
    "relabelled": "labelled anew",
    "same": "as they were",
    "gone": "gone from the source",
}


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


def log_as(log_format: str) -> None:
    """Log this package's doings on the error stream in that format; text: as it was set up."""
    if log_format != "json":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.getLogger("fer_ray").setLevel(logging.INFO)


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
    for kind in told["errors"][:5]:
        console.print(
            f"{kind['images']} {kind['status']}: {kind['error']} ({kind['examples'][0]} …)",
            markup=False,
        )
    console.print(f"sweep {told['sweep']}: {told['timings']['total']:.1f} s", markup=False)


def print_plan(planned: dict[str, dict[str, int]], console: Console | None = None) -> None:
    """How many images of each kind, and their bytes."""
    table = Table("images", "MB", "", box=None, pad_edge=False)
    for kind, meaning in MEANINGS.items():
        if kind in planned:
            found = planned[kind]
            table.add_row(str(found["images"]), f"{found['bytes'] / 1e6:.1f}", meaning)
    (console or Console(highlight=False)).print(table)
