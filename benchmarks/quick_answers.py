"""Duration of commands with little or nothing to do, from the start of the process to its end.

    python -m benchmarks.quick_answers --data TREE [--runs 7] [--before CHECKOUT]

Times `predict` of one image, and `predict`, `extract` and `run` on finished output. The bundle and
the output come from a fast run on the data, created first. With `--before`, the same commands of
another checkout run alternately, each on its own output, in the same Python environment.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Table, write_result
from fer_ray.settings.extraction import Selection
from fer_ray.sources.datasets.listing import list_source

HERE = Path(__file__).parent.parent
RUN = ("--profile", "fast", "--trials", "3", "--kernels", "linear", "--scale", "equal",
       "--feature-set", "hog+landmarks")  # fmt: skip


@dataclass(frozen=True)
class Checkout:
    """A checkout and the output of its commands.

    Attributes:
        name: Name in the table.
        folder: Root of the checkout.
        out: Folder of the output.
    """

    name: str
    folder: Path
    out: Path

    def run(self, *arguments: object) -> float:
        """Run `fer-ray` and return the duration of the process in seconds."""
        command = [sys.executable, "-m", "fer_ray", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        started = time.perf_counter()
        subprocess.run(command, cwd=self.folder, env=environment, check=True, capture_output=True)
        return time.perf_counter() - started


def main() -> None:
    """Time each command in each checkout, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of CK+")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    options = parser.parse_args()
    data = options.data.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        checkouts = [Checkout("this version", HERE, Path(scratch, "after"))]
        if options.before:
            before = Checkout("before", options.before.resolve(), Path(scratch, "before"))
            checkouts.insert(0, before)
        for checkout in checkouts:
            prepare(checkout, data)
        seconds = measure(checkouts, data, options.runs)
    table = Table("command", "version", "median, s", "fastest, s", "slowest, s")
    for (name, version), times in seconds.items():
        figures = (statistics.median(times), min(times), max(times))
        table.add(name, version, *(f"{figure:.2f}" for figure in figures))
    listed = list_source(data, Selection()).table.num_rows
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    write_result(
        "quick-answers",
        f"Whole processes, {options.runs} runs per command, versions alternating. `run` and "
        f"`extract` have finished {listed} images, `predict` one image, with an SVM on "
        f"`hog+landmarks`. Load averages at the end (1, 5 and 15 minutes): {load}.",
        table,
    )


def prepare(checkout: Checkout, data: Path) -> None:
    """Create the run, the bundle and the prediction that commands find finished."""
    checkout.run("run", "--data", data, "--out", checkout.out / "run", *RUN)
    checkout.run("bundle", "--out", checkout.out / "run", "--to", checkout.out / "model")
    predict(checkout, data, "finished")


def predict(checkout: Checkout, data: Path, name: str) -> float:
    """Predict the first image of the data."""
    image = min(data.rglob("*.png"))
    return checkout.run("predict", checkout.out / "model", image, "--out", checkout.out / name)


def measure(checkouts: list[Checkout], data: Path, runs: int) -> dict[tuple[str, str], list[float]]:
    """Durations by command and version, in seconds."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(runs):
        for checkout in checkouts:
            shutil.rmtree(checkout.out / "new", ignore_errors=True)
            run = ("--data", data, "--out", checkout.out / "run")
            for name, duration in (
                ("predict, one image", predict(checkout, data, "new")),
                ("predict, finished", predict(checkout, data, "finished")),
                ("extract, finished", checkout.run("extract", *run, "--profile", "fast")),
                ("run, finished", checkout.run("run", *run, *RUN)),
            ):
                seconds.setdefault((name, checkout.name), []).append(duration)
    return dict(sorted(seconds.items()))


if __name__ == "__main__":
    main()
