"""Sweeps and extractions in which processes are killed, compared with undisturbed ones.

The cluster has three nodes, simulated on this machine. A driver in a separate process sweeps or
extracts a folder of images, on disk or in a bucket of a local S3 server. While it works, each kind
of process is killed once (SIGKILL), in random order and at random moments: a task's worker, the
child process that a worker guards, the sweep's actor, all of a node, and the driver. A killed
driver is restarted, as cron would do. Finally the rows are compared with those of an undisturbed
job.

    python -m benchmarks.chaos --data corpus --jobs 5
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from deltalake import DeltaTable

from benchmarks.report import Table, write_result
from benchmarks.simulated_cluster import add_node, start_cluster
from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.parquet import read_table
from tests.object_store import local_bucket, upload

NODES = 3
# They differ between jobs on the same images.
JOB_COLUMNS = {"sweep", "listed_ns"}
KINDS = ("worker", "child process", "actor", "node", "driver")
SMALL_BLOCKS = ("--profile", "fast", "--set", "execution.block_images=8")
COMMANDS = {
    "sweep": ("sweep", *SMALL_BLOCKS, "--set", "sweep.commit_rows=16"),
    "extract": ("extract", *SMALL_BLOCKS, "--frames", "all"),
}
FOLDER_OPTIONS = {"sweep": ("--source", "--store"), "extract": ("--data", "--out")}
MAX_JOB_S = 900
FIND_S = 10  # to find a process to kill


def read_rows(command: str, output: Path) -> dict[str, list[str]]:
    """Read the sorted rows of each table, without `JOB_COLUMNS`."""
    if command == "extract":
        tables = {"frames": read_table(output / "frames")}
    else:
        tables = {
            name: DeltaTable(str(output / name)).to_pyarrow_table()
            for name in ("images", "results")
        }
    return {
        name: sorted(
            repr({key: value for key, value in row.items() if key not in JOB_COLUMNS})
            for row in table.to_pylist()
        )
        for name, table in tables.items()
    }


class Chaos:
    """Jobs of one command that are disturbed, on a cluster of three nodes.

    Args:
        command: `sweep` or `extract`.
        data: Folder of images.
        scratch: Folder for results.
        log: File for the driver's log.
        seed: Seed of the moments and of the processes to kill.
    """

    def __init__(self, command: str, data: Path, scratch: Path, log: Path, seed: int) -> None:
        os.environ.pop("RAY_ADDRESS", None)
        self._command, self._data, self._scratch, self._log = command, data, scratch, log
        self._random = random.Random(seed)
        self._cluster = start_cluster()
        self._nodes = [add_node(self._cluster) for _ in range(NODES)]
        started = time.monotonic()
        assert self._start_driver(scratch / "undisturbed").wait() == 0, log.read_text()[-3000:]
        self.seconds = time.monotonic() - started
        self.expected = read_rows(command, scratch / "undisturbed")

    def close(self) -> None:
        """Shut the cluster down."""
        self._cluster.shutdown()

    def disturb(self, job: int) -> tuple[Counter[str], bool, int]:
        """Run one job and kill one process of each kind.

        Args:
            job: Number of the job.

        Returns:
            The kinds of which a process was killed, whether the rows are as expected, and how many
            times the driver was started.
        """
        output = self._scratch / f"disturbed-{job}"
        driver, starts, kills = self._start_driver(output), 1, Counter[str]()
        time.sleep(self._random.uniform(0.2, 0.5) * self.seconds)
        kinds = [kind for kind in KINDS if self._command == "sweep" or kind != "actor"]
        for kind in self._random.sample(kinds, len(kinds)):
            kills[kind] += self._kill_running(kind, driver)
            if kind == "driver" and driver.wait(MAX_JOB_S) == -signal.SIGKILL:
                driver, starts = self._start_driver(output), starts + 1
            time.sleep(self._random.uniform(0, 0.3) * self.seconds)
        code = driver.wait(MAX_JOB_S)
        assert code == 0, f"the driver exited with {code}: {self._log.read_text()[-3000:]}"
        return kills, read_rows(self._command, output) == self.expected, starts

    def _kill_running(self, kind: str, driver: "subprocess.Popen[bytes]") -> bool:
        deadline = time.monotonic() + FIND_S
        while driver.poll() is None and time.monotonic() < deadline:
            if self._kill(kind, driver):
                return True
            time.sleep(0.05)
        return False

    def _start_driver(self, output: Path) -> "subprocess.Popen[bytes]":
        source, target = FOLDER_OPTIONS[self._command]
        folders = (source, str(self._data), target, str(output))
        command = [sys.executable, "-m", "fer_ray", *COMMANDS[self._command], *folders]
        environment = {**os.environ, "RAY_ADDRESS": self._cluster.address}
        with self._log.open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)

    def _kill(self, kind: str, driver: "subprocess.Popen[bytes]") -> bool:
        if kind == "driver":
            driver.kill()
            return True
        if kind == "node":
            node = self._nodes.pop(self._random.randrange(NODES))
            self._cluster.remove_node(node, allow_graceful=False)
            self._nodes.append(add_node(self._cluster))
            return True
        matches: Callable[[str], bool] = {  # names of Ray's processes: `execution.block_tasks`
            "worker": lambda command: command.startswith("ray::call_work"),
            "actor": lambda command: command.startswith("ray::_LoadedClaims"),
            "child process": lambda command: "fer_ray.execution.guard_process" in command,
        }[kind]
        processes = psutil.Process().children(recursive=True)
        matching = [process for process in processes if matches(_command_line(process))]
        if not matching:
            return False
        self._random.choice(matching).kill()
        return True


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def open_scratch(storage: str, data: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Create a folder for results, on disk or in a bucket.

    Yields:
        The images, the folder for results, and a file for the driver's log.
    """
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "driver.log"
        if storage == "disk":
            yield data, Path(scratch), log
            return
        with local_bucket() as (bucket, _):
            upload(data, bucket / "data")
            yield bucket / "data", ObjectPath(f"{bucket}/results"), log


def main() -> None:
    """Disturb jobs, compare their rows, and write the table."""
    parser = argparse.ArgumentParser(description="Jobs under random kills")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=5, help="jobs of each command and storage")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = Table("command", "storage", "undisturbed job", "jobs", "driver starts", *KINDS)
    for storage in ("disk", "S3"):
        for command in COMMANDS:
            with open_scratch(storage, options.data.resolve()) as (data, scratch, log):
                chaos = Chaos(command, data, scratch, log, options.seed)
                try:
                    kills, starts = _disturb_jobs(chaos, options.jobs)
                finally:
                    chaos.close()
            row = (f"{chaos.seconds:.0f} s", str(options.jobs), str(starts))
            table.add(command, storage, *row, *(str(kills[kind]) for kind in KINDS))
    protocol = (
        f"Images of {options.data.name}; cluster of {NODES} nodes with one CPU each, simulated on "
        "one machine; in each job one process of each kind is killed (SIGKILL), in random order "
        f"and at random moments (seed {options.seed}). The columns count the kills. The rows of "
        "every job were those of the undisturbed one."
    )
    write_result("chaos", protocol, table)


def _disturb_jobs(chaos: Chaos, jobs: int) -> tuple[Counter[str], int]:
    kills, starts = Counter[str](), 0
    for job in range(jobs):
        killed, equal, started = chaos.disturb(job)
        kills += killed
        starts += started
        print(f"{dict(killed)}, rows {'as expected' if equal else 'DIFFER'}", flush=True)
        assert equal
    return kills, starts


if __name__ == "__main__":
    main()
