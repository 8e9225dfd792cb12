"""Sweeps in which a process is killed at a random moment, compared with an undisturbed sweep.

The cluster has three nodes, simulated on this machine. A driver in a separate process sweeps a
folder of images into a new store. At a random moment one process is killed (SIGKILL): a task's
worker, the child process that a worker guards, the sweep's actor, all of a node, or the driver. A
killed driver is restarted, as cron would do. Finally the rows of the store are compared with those
of the undisturbed sweep.

    python -m benchmarks.chaos --data corpus --kills 30
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
from deltalake import DeltaTable

from benchmarks.report import Table, write_result
from benchmarks.simulated_cluster import add_node, start_cluster

NODES = 3
SWEEP_COLUMNS = {"sweep", "listed_ns"}  # they differ between sweeps of the same images
KINDS = ("worker", "child process", "actor", "node", "driver")
SMALL_BLOCKS = ("--set", "sweep.commit_rows=16", "--set", "execution.block_images=8")


def read_rows(store: Path) -> dict[str, list[str]]:
    """Read the sorted rows of each table, without `SWEEP_COLUMNS`."""
    tables = {}
    for name in ("images", "results"):
        rows = DeltaTable(str(store / name)).to_pyarrow_table().to_pylist()
        tables[name] = sorted(
            repr({key: value for key, value in row.items() if key not in SWEEP_COLUMNS})
            for row in rows
        )
    return tables


class Chaos:
    """A cluster of three nodes on which sweeps are disturbed.

    Args:
        data: Folder of images.
        scratch: Folder for the stores.
        seed: Seed of the moments and of the processes to kill.
    """

    def __init__(self, data: Path, scratch: Path, seed: int) -> None:
        os.environ.pop("RAY_ADDRESS", None)
        self._data, self._scratch, self._log = data, scratch, scratch / "driver.log"
        self._random = random.Random(seed)
        self._cluster = start_cluster()
        self._nodes = [add_node(self._cluster) for _ in range(NODES)]
        started = time.monotonic()
        assert self._start_driver(scratch / "undisturbed").wait() == 0
        self.seconds = time.monotonic() - started
        self.expected = read_rows(scratch / "undisturbed")

    def close(self) -> None:
        """Shut the cluster down."""
        self._cluster.shutdown()

    def trial(self, kind: str) -> tuple[bool, bool, int]:
        """Run one sweep and kill one process.

        Args:
            kind: One of `KINDS`.

        Returns:
            Whether a process was killed, whether the rows are as expected, and how many times the
            driver was started.
        """
        store = self._scratch / "disturbed"
        shutil.rmtree(store, ignore_errors=True)
        driver, starts = self._start_driver(store), 1
        time.sleep(self._random.uniform(0.2, 1) * self.seconds)
        killed = self._kill(kind, driver)
        while (code := driver.wait(300)) != 0:
            assert code == -9, f"the driver exited with {code}: {self._log.read_text()[-3000:]}"
            driver, starts = self._start_driver(store), starts + 1
        return killed, read_rows(store) == self.expected, starts

    def _start_driver(self, store: Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "fer_ray", "sweep", "--profile", "fast", *SMALL_BLOCKS]
        paths = ("--source", str(self._data), "--store", str(store))
        environment = {**os.environ, "RAY_ADDRESS": self._cluster.address}
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [*command, *paths], env=environment, stdout=subprocess.DEVNULL, stderr=log
            )

    def _kill(self, kind: str, driver: "subprocess.Popen[bytes]") -> bool:
        if kind == "driver":
            running = driver.poll() is None
            driver.kill()
            return running
        if kind == "node":
            node = self._nodes.pop(self._random.randrange(NODES))
            self._cluster.remove_node(node, allow_graceful=False)
            self._nodes.append(add_node(self._cluster))
            return driver.poll() is None
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


def main() -> None:
    """Disturb sweeps, compare their rows, and write the table."""
    parser = argparse.ArgumentParser(description="Sweeps under random kills")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kills, equal_kills, starts = Counter[str](), Counter[str](), 0
    with tempfile.TemporaryDirectory() as scratch:
        chaos = Chaos(options.data.resolve(), Path(scratch), options.seed)
        try:
            while kills.total() < options.kills:
                kind = KINDS[kills.total() % len(KINDS)]
                killed, equal, started = chaos.trial(kind)
                kills[kind] += killed
                equal_kills[kind] += killed and equal
                starts += started
                print(f"{kind}: {'killed' if killed else 'no such process'}, "
                      f"rows {'as expected' if equal else 'DIFFER'}", flush=True)  # fmt: skip
                assert equal
        finally:
            chaos.close()
    table = Table("killed (SIGKILL)", "times", "rows as undisturbed")
    for kind in KINDS:
        table.add(kind, str(kills[kind]), str(equal_kills[kind]))
    images = len(chaos.expected["images"])
    protocol = (
        f"{images} images of {options.data.name}; cluster of {NODES} nodes with one CPU each, "
        f"simulated on one machine; one kill per sweep, at a random moment (seed {options.seed}). "
        f"An undisturbed sweep takes {chaos.seconds:.0f} s. Drivers started: {starts}."
    )
    write_result("chaos", protocol, table)


if __name__ == "__main__":
    main()
