"""Tables of measurements, printed and written as Markdown."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from fer_ray.storage.environment import library_versions

RESULTS = Path(__file__).parent / "results"


class Table:
    """Rows below a header, as Markdown."""

    def __init__(self, *header: str) -> None:
        self._rows = [header, tuple("---" for _ in header)]

    def add(self, *cells: str) -> None:
        """Append a row with one cell per column."""
        self._rows.append(cells)

    def __str__(self) -> str:
        return "\n".join("| " + " | ".join(row) + " |" for row in self._rows)


def write_result(name: str, protocol: str, *tables: Table) -> Path:
    """Print `tables` and write them to `results/NAME.md`, replacing an earlier result.

    The file also states the date, the commit, the machine and the library versions.

    Args:
        name: Name of the result.
        protocol: What was measured, how, and on which data.
        tables: Measured values.

    Returns:
        The file.
    """
    versions = ", ".join(f"{library} {number}" for library, number in library_versions().items())
    machine = f"{os.cpu_count()} CPUs, {platform.machine()}, {platform.system()}"
    parts = [
        f"# {name}", f"Date: {today()}. Commit: {current_commit()}.", protocol, *map(str, tables),
        f"Machine: {machine}. {versions}.",
    ]  # fmt: skip
    text = "\n\n".join(parts) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.md"
    file.write_text(text, encoding="utf-8")
    return file


def today() -> str:
    """Today's date in UTC, in ISO format."""
    return datetime.now(UTC).date().isoformat()


def current_commit() -> str:
    """Short hash of the commit, with `-dirty` if a tracked file other than a result has changed."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=RESULTS.parent, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
