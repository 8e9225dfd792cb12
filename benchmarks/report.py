"""A measured table, printed and kept as dated Markdown."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from fer_ray.storage.environment import library_versions

RESULTS = Path(__file__).parent / "results"


class Table:
    """Rows under a header, as Markdown."""

    def __init__(self, *header: str) -> None:
        self._rows = [header, tuple("---" for _ in header)]

    def add(self, *cells: str) -> None:
        """Append a row, a cell for each column."""
        self._rows.append(cells)

    def __str__(self) -> str:
        return "\n".join("| " + " | ".join(row) + " |" for row in self._rows)


def write_result(name: str, protocol: str, *tables: Table) -> Path:
    """Print `tables` and keep them in `results/DATE-NAME.md` with the machine and versions.

    Args:
        name: Of the measurement.
        protocol: What was measured, on which data, in words.
        tables: What came out.
    """
    today = datetime.now(UTC).date().isoformat()
    versions = ", ".join(f"{library} {found}" for library, found in library_versions().items())
    machine = f"{os.cpu_count()} processors, {platform.machine()}, {platform.system()}"
    body = "\n\n".join(str(table) for table in tables)
    text = f"# {name}, {today}\n\n{protocol}\n\n{body}\n\nMachine: {machine}. {versions}.\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{today}-{name}.md"
    file.write_text(text, encoding="utf-8")
    return file
