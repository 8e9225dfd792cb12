"""A Ray cluster whose nodes are on hosts of their own, with a bucket on another host."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fer_ray.storage.objects.object_path import ObjectPath
from tests.cluster.head import REPO, Node
from tests.cluster.hosts import Host, add_host, open_network
from tests.object_store import s3_environment
from tests.patience import raise_start_limits, wait_until
from tests.pipelines.sweeps.s3 import environment, s3_server

PORT = 6379
HEAD, FIRST, SECOND, STORAGE = 1, 2, 3, 4


@dataclass(frozen=True)
class SecondWorker:
    """What is special about the second worker.

    Attributes:
        cable: Delay in seconds and share of lost frames in each direction.
        prepare: Changes the host before Ray starts.
    """

    cable: tuple[float, float] | None = None
    prepare: Callable[[Host], None] = lambda host: None


class HostCluster:
    """A head without CPUs and two workers with one CPU, with a token, each on its own host.

    Attributes:
        hosts: By number: `HEAD`, `FIRST` and `SECOND`.
        nodes: The running nodes, by number.
        storage: A host outside the cluster, with the server of the bucket.
        bucket: A bucket that this process can also access.
    """

    def __init__(
        self, stack: ExitStack, scratch: Path, second: SecondWorker, variables: dict[str, str],
        dashboard: bool,
    ) -> None:  # fmt: skip
        self.storage = storage = add_host(stack, STORAGE)
        port = stack.enter_context(s3_server(storage.address, storage.wrap))
        stack.enter_context(s3_environment(port, storage.address))
        self.bucket = ObjectPath("s3://fer")
        token = scratch / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.env = own | environment(port, storage.address) | raise_start_limits() | {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "no_proxy": "*",
            "RAY_TMPDIR": "/tmp",  # or hosts share session folders below TMPDIR
        } | variables  # fmt: skip
        cables = {HEAD: None, FIRST: None, SECOND: second.cable}
        self.hosts = {number: add_host(stack, number, cable) for number, cable in cables.items()}
        self.address = f"{self.hosts[HEAD].address}:{PORT}"
        self._scratch, self._dashboard = scratch, dashboard
        self.nodes: dict[int, Node] = {}
        second.prepare(self.hosts[SECOND])
        self.start(HEAD)
        self.start(FIRST, SECOND)

    def start(self, *numbers: int, **environment: str) -> None:
        """Start the nodes of hosts at the same time, and wait until they run."""
        for number in numbers:
            self._launch(number, environment)
        for number in numbers:
            wait_until(partial(self._has_started, number, environment))

    def _launch(self, number: int, environment: dict[str, str]) -> None:
        dashboard = f"--include-dashboard={str(self._dashboard).lower()}"
        kind: tuple[str, ...] = ("--head", f"--port={PORT}", "--num-cpus=0", dashboard)
        if number != HEAD:
            kind = (f"--address={self.address}", "--num-cpus=1")
        host = self.hosts[number]
        arguments = [*kind, f"--node-ip-address={host.address}"]
        self.nodes[number] = Node(arguments, self.env | environment, self._log(number), host.wrap)

    def _has_started(self, number: int, environment: dict[str, str]) -> bool:
        self.nodes[number].require_running()
        if self.nodes[number].has_lost_raylet():
            self.nodes[number].kill()
            self._launch(number, environment)
        return "Ray runtime started" in self._log(number).read_text()

    def _log(self, number: int) -> Path:
        return self._scratch / f"node{number}.log"

    def restart_ended(self) -> None:
        """Start the nodes that have ended."""
        ended = [number for number, node in self.nodes.items() if node.process.poll() is not None]
        for number in sorted(ended):
            self.start(number)

    def drive(
        self, *command: object, number: int = HEAD, **variables: str
    ) -> "subprocess.Popen[str]":
        """Start `fer-ray` on a host."""
        return subprocess.Popen(
            [*self.hosts[number].wrap, sys.executable, "-m", "fer_ray", *map(str, command)],
            env={**self.env, "RAY_ADDRESS": self.address, **variables}, cwd=REPO, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


@contextmanager
def open_cluster(
    scratch: Path, second: SecondWorker | None = None, variables: dict[str, str] | None = None,
    dashboard: bool = False,
) -> Iterator[HostCluster]:  # fmt: skip
    """Start a cluster, and remove it with its hosts.

    Args:
        scratch: Folder for the token and logs.
        second: What is special about the second worker.
        variables: Environment variables of all nodes and drivers.
        dashboard: Whether the head also runs the dashboard.
    """
    with open_network() as stack:
        yield HostCluster(stack, scratch, second or SecondWorker(), variables or {}, dashboard)
