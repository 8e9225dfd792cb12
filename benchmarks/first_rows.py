"""Time from the start of a command to its first stored rows.

    python -m benchmarks.first_rows --data TREE [--runs 3] [--before CHECKOUT]

Times `extract` and `sweep` under the fast profile, with and without Ray, and then stops them. With
`--before`, the commands of another checkout run alternately, in the same Python environment.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Table, write_result

HERE = Path(__file__).parent.parent
# Options that name the input and the output, and the files of the first rows.
COMMANDS = {
    "extract": ("--data", "--out", "frames.partial/*/[0-9]*.parquet"),
    "sweep": ("--source", "--store", "results/*.parquet"),
}
EXECUTORS = ("ray", "in-process")
POLL_S = 0.02
LIMIT_S = 120


def main() -> None:
    """Time each command in each checkout, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    options = parser.parse_args()
    checkouts = {"before": options.before.resolve()} if options.before else {}
    checkouts["this version"] = HERE
    seconds: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(options.runs):
        for command in COMMANDS:
            for executor in EXECUTORS:
                for version, folder in checkouts.items():
                    found = first_rows(folder, command, executor, options.data.resolve())
                    seconds.setdefault((command, executor, version), []).append(found)
    table = Table("command", "executor", "version", "median, s", "fastest, s", "slowest, s")
    for key, values in sorted(seconds.items()):
        figures = (statistics.median(values), min(values), max(values))
        table.add(*key, *(f"{value:.1f}" for value in figures))
    protocol = (
        f"{options.data.name}, all images, fast settings. From the start of the process until its "
        f"first rows are stored; {options.runs} runs per line, versions alternating."
    )
    write_result("first-rows", protocol, table)


def first_rows(checkout: Path, command: str, executor: str, data: Path) -> float:
    """Seconds until a command has stored rows."""
    source, target, files = COMMANDS[command]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        words = [sys.executable, "-m", "fer_ray", command, source, data, target, out]
        words += ["--profile", "fast", "--set", f"execution.executor={executor}"]
        started = time.perf_counter()
        job = subprocess.Popen(
            [*map(str, words)], cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while not any(out.glob(files)):
            if job.poll() is not None or time.perf_counter() - started > LIMIT_S:
                raise RuntimeError(f"{command} has stored no rows")
            time.sleep(POLL_S)
        found = time.perf_counter() - started
        job.terminate()
        job.wait()
    return found


if __name__ == "__main__":
    main()
