"""Kills at random moments: does a sweep end with the rows of one that nobody disturbed?

A cluster of three nodes on this machine; a driver in a process of its own sweeps a folder of images
into a new store. At a random moment a task's worker, the process that guards it, the sweep's actor,
a whole node or the driver is killed (SIGKILL). A killed driver is started again, as cron would.
Then the store is held against that of an undisturbed sweep, row for row.

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
from typing import Any

import psutil
from deltalake import DeltaTable

from benchmarks.report import Table, write_result
from fer_ray.execution.authentication import prepare_token

NODES = 3
BOOKKEEPING = {"sweep", "listed_ns"}
KINDS = ("worker", "guarded", "actor", "node", "driver")
COMMITS = ("--set", "sweep.commit_rows=16", "--set", "execution.block_images=8")


def rows_of(store: Path) -> dict[str, list[str]]:
    """Each table's rows, but for what tells of sweeps, in a fixed order."""
    tables = {}
    for name in ("images", "results"):
        rows = DeltaTable(str(store / name)).to_pyarrow_table().to_pylist()
        told = [{key: row[key] for key in row if key not in BOOKKEEPING} for row in rows]
        tables[name] = sorted(map(repr, told))
    return tables


class Chaos:
    """A cluster of three nodes, sweeps on it, and ways to disturb them.

    Args:
        data: Folder of images.
        scratch: For the stores.
        seed: Of the moments and the victims.
    """

    def __init__(self, data: Path, scratch: Path, seed: int) -> None:
        os.environ.pop("RAY_ADDRESS", None)
        prepare_token()
        os.environ["RAY_AUTH_MODE"] = "token"  # of all that is started; read with Ray's import
        from ray.cluster_utils import Cluster

        self._data, self._scratch, self._log = data, scratch, scratch / "driver.log"
        self._random = random.Random(seed)
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 100_000_000}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self._nodes = [self._node() for _ in range(NODES)]
        started = time.monotonic()
        assert self._drive(scratch / "undisturbed").wait() == 0
        self.seconds = time.monotonic() - started
        self.expected = rows_of(scratch / "undisturbed")

    def close(self) -> None:
        """End the cluster."""
        self._cluster.shutdown()

    def trial(self, kind: str) -> tuple[bool, bool, int]:
        """One sweep with one kill.

        Returns:
            Whether anything was there to be killed, whether the rows are those expected, and how
            many times the driver was started.
        """
        store = self._scratch / "disturbed"
        shutil.rmtree(store, ignore_errors=True)
        driver, starts = self._drive(store), 1
        time.sleep(self._random.uniform(0.2, 1) * self.seconds)
        hit = self._kill(kind, driver)
        while (code := driver.wait(300)) != 0:
            assert code == -9, f"the driver ended with {code}: {self._log.read_text()[-3000:]}"
            driver, starts = self._drive(store), starts + 1
        return hit, rows_of(store) == self.expected, starts

    def _drive(self, store: Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "fer_ray", "sweep", "--profile", "fast", *COMMITS]
        where = ("--source", str(self._data), "--store", str(store))
        environment = {**os.environ, "RAY_ADDRESS": self._cluster.address}
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [*command, *where], env=environment, stdout=subprocess.DEVNULL, stderr=log
            )

    def _node(self) -> Any:
        return self._cluster.add_node(num_cpus=1, object_store_memory=100_000_000)

    def _kill(self, kind: str, driver: "subprocess.Popen[bytes]") -> bool:
        if kind == "driver":
            running = driver.poll() is None
            driver.kill()
            return running
        if kind == "node":
            node = self._nodes.pop(self._random.randrange(NODES))
            self._cluster.remove_node(node, allow_graceful=False)
            self._nodes.append(self._node())
            return driver.poll() is None
        wanted: Callable[[str], bool] = {
            "worker": lambda name: name.startswith("ray::answer"),
            "actor": lambda name: name.startswith("ray::Claims"),
            "guarded": lambda name: "fer_ray.execution.guard_process" in name,
        }[kind]
        found = [one for one in psutil.Process().children(recursive=True) if wanted(_named(one))]
        if not found:
            return False
        self._random.choice(found).kill()
        return True


def _named(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def main() -> None:
    """Disturb, compare, and keep a dated file."""
    parser = argparse.ArgumentParser(description="Sweeps under random kills")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    hits, same, starts = Counter[str](), Counter[str](), 0
    with tempfile.TemporaryDirectory() as scratch:
        chaos = Chaos(options.data.resolve(), Path(scratch), options.seed)
        try:
            while hits.total() < options.kills:
                kind = KINDS[hits.total() % len(KINDS)]
                hit, equal, started = chaos.trial(kind)
                hits[kind] += hit
                same[kind] += hit and equal
                starts += started
                print(f"{kind}: {'killed' if hit else 'nothing to kill'}, "
                      f"rows {'as expected' if equal else 'DIFFER'}", flush=True)  # fmt: skip
                assert equal
        finally:
            chaos.close()
    table = Table("killed (SIGKILL)", "times", "rows as undisturbed")
    for kind in KINDS:
        table.add(kind, str(hits[kind]), str(same[kind]))
    images = len(chaos.expected["images"])
    protocol = (
        f"{images} images of {options.data.name}, cluster of {NODES} nodes of one processor on one "
        f"machine; one kill a sweep at a random moment (seed {options.seed}); an undisturbed sweep "
        f"takes {chaos.seconds:.0f} s. Drivers started: {starts}."
    )
    write_result("chaos", protocol, table)


if __name__ == "__main__":
    main()
