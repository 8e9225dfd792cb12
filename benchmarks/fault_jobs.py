"""The jobs that `host_faults` disturbs, and what must be equal afterwards."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos import read_rows
from fer_ray.storage.parquet import read_table

Rows = dict[str, list[str]]


@dataclass(frozen=True)
class Job:
    """A command, its results, and when it is in the middle.

    Attributes:
        command: Name and options, without folders.
        grown: Objects that it has written by then.
        read: Reads what must be equal.
    """

    command: tuple[str, ...]
    grown: int
    read: Callable[[Path], Rows]

    def arguments(self, bucket: Path, out: Path) -> tuple[object, ...]:
        """The complete command line."""
        folders: dict[str, tuple[object, ...]] = {
            "sweep": ("--source", bucket / "data", "--store", out),
            "extract": ("--data", bucket / "data", "--out", out),
        }
        return (*self.command, *folders.get(self.command[0], ("--out", out)))


def _trial_rows(out: Path) -> Rows:
    table = read_table(out / "trials").drop_columns(["seconds"])
    return {"trials": sorted(map(repr, table.to_pylist()))}


def _tried_configurations(out: Path) -> Rows:
    """Configurations by trial. Which ones are stopped early depends on the speed of the hosts."""
    [file] = (out / "heads").glob("*.search.json")
    trials = json.loads(file.read_bytes())["trials"]
    return {
        name: sorted(json.dumps(one["configuration"], sort_keys=True) for one in tried)
        for name, tried in trials.items()
    }


JOBS = {
    "extraction": Job(
        ("extract", "--frames", "all", "--set", "execution.block_images=2"),
        6, lambda out: read_rows("extract", out),
    ),
    "trials": Job(("trials", "--trials", "400"), 40, _trial_rows),
    "head search": Job(
        ("search-heads", "--backbone", "geometry", "--searcher", "random", "--configs", "12",
         "--trials", "2"), 3, _tried_configurations,
    ),
    "sweep": Job(
        ("sweep", "--set", "execution.block_images=2", "--set", "sweep.commit_rows=8"),
        8, lambda out: read_rows("sweep", out),
    ),
}  # fmt: skip
