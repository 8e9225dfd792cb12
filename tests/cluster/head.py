"""A Ray cluster on loopback, asking for a token: nodes of its own, ended by their process alone."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPO = Path(__file__).parent.parent.parent
RAY = str(Path(sys.executable).with_name("ray"))
OBJECT_STORE_BYTES = 100_000_000
# A node that is gone is missed within seconds; by default it takes a quarter of a minute.
WATCHFUL = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}

FAKE_ID = "f" * 51 + "00000"  # as Ray's provider of such nodes calls the head
# Of a head whose nodes an autoscaler starts on this machine.
AUTOSCALED = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": FAKE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_ID,
}
NODES_HERE = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
COMMANDS = (
    "initialization",
    "setup",
    "head_setup",
    "worker_setup",
    "head_start_ray",
    "worker_start_ray",
)

Completed = subprocess.CompletedProcess[str]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on: taken all at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until(what: Callable[[], object], seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)


def kept(out: Path) -> int:
    """Number of blocks that an extraction which is not finished has kept."""
    return len(list(out.glob("frames.partial/*/*.parquet")))


def committed(store: Path) -> int:
    """Number of commits of results that a store of sweeps has, the table's making among them."""
    return len(list(store.glob("results/_delta_log/*.json")))


class Node:
    """`ray start … --block`, with all that it starts."""

    def __init__(self, arguments: list[str], env: dict[str, str], wrap: tuple[str, ...] = ()):
        self.process = subprocess.Popen(
            [*wrap, RAY, "start", "--block", "--disable-usage-stats", "--min-worker-port=0",
             "--max-worker-port=0", f"--object-store-memory={OBJECT_STORE_BYTES}", *arguments],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def started(self) -> list[int]:
        """Process ids of all that this node has started."""
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int(
                    (folder / "stat").read_text().rpartition(")")[2].split()[1]
                )
            except OSError:
                continue
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found[1:]

    def kill(self) -> None:
        """As a machine that is lost: everything at once, without a word."""
        for pid in [self.process.pid, *self.started()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(20)


class Head:
    """A cluster's head, and further nodes on this machine.

    Args:
        processors: Of the head.
        groups: Nodes that an autoscaler starts here on demand, as in a cluster file.
        auth: token, or disabled.
    """

    def __init__(
        self, processors: int, groups: dict[str, Any] | None = None, auth: str = "token"
    ) -> None:
        self._auth = auth
        self.folder = Path(tempfile.mkdtemp(prefix="fr-", dir="/tmp"))  # socket paths are short
        self.token = self.folder / "token"
        self.token.touch(mode=0o600)
        self.token.write_text(secrets.token_hex(32))
        self._drivers: list[subprocess.Popen[str]] = []
        port, client, dashboard, agent = free_ports(4)
        self.address = f"127.0.0.1:{port}"
        self.dashboard = f"http://127.0.0.1:{dashboard}"
        ports = {"port": port, "ray-client-server-port": client, "dashboard-port": dashboard,
                 "dashboard-agent-listen-port": agent}  # fmt: skip
        options = [f"--{name}={number}" for name, number in ports.items()]
        options += [f"--num-cpus={processors}", f"--temp-dir={self.folder / 'ray'}"]
        growing = {}
        if groups is not None:
            options.append(f"--autoscaling-config={self._growth(groups)}")
            growing = AUTOSCALED
        self.nodes = [Node(["--head", *options], self.env(**WATCHFUL, **growing))]
        wait_until(lambda: self._asked("/api/jobs/") is not None)

    def _growth(self, groups: dict[str, Any]) -> Path:
        """A cluster file whose nodes are processes of this machine."""
        file = self.folder / "cluster.yaml"
        head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
        provider = {
            "type": "external", "module": NODES_HERE, "launch_multiple": True,
            "use_node_id_as_ip": True, "disable_node_updaters": True,
            "disable_launch_config_check": True, "head_node_id": FAKE_ID,
            "gcs_address": self.address,
        }  # fmt: skip
        launched = {
            "cluster_name": "fake", "provider": provider, "head_node_type": "ray.head.default",
            "max_workers": sum(group["max_workers"] for group in groups.values()),
            "available_node_types": {"ray.head.default": head, **groups},
            "idle_timeout_minutes": 5, "upscaling_speed": 1.0, "auth": {}, "docker": {},
            "file_mounts": {}, "cluster_synced_files": [], "rsync_exclude": [], "rsync_filter": [],
            **{f"{when}_commands": [] for when in COMMANDS},
        }  # fmt: skip
        file.write_text(json.dumps(launched))
        return file

    def env(self, **changes: str) -> dict[str, str]:
        """What nodes and clients of this cluster have in their environment: this one, active."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return own | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": self._auth,
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_JOB_STOP_WAIT_TIME_S": "60",
            "RAY_COLOR_PREFIX": "0",
            **changes,
        }

    def add_node(self, processors: int, wrap: tuple[str, ...] = ()) -> Node:
        agent, grpc = free_ports(2)
        node = Node(
            [f"--address={self.address}", f"--num-cpus={processors}",
             f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}",
             f"--temp-dir={self.folder / f'n{agent}'}"],  # else nodes clear away each other's files
            self.env(), wrap,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def _asked(self, path: str) -> Any:
        """What the dashboard answers; the `ray` command costs seconds. None: it does not yet."""
        told = {"Authorization": f"Bearer {self.token.read_text()}"}
        request = urllib.request.Request(self.dashboard + path, headers=told)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except OSError:
            return None

    def alive(self, kind: str) -> list[dict[str, Any]]:
        """Nodes or actors that are."""
        where = f"/api/v0/{kind}?filter_keys=state&filter_predicates=%3D&filter_values=ALIVE"
        answer = self._asked(where)
        return answer["data"]["result"]["result"] if answer else []  # type: ignore[no-any-return]

    def nodes_alive(self) -> int:
        return len(self.alive("nodes"))

    def ray(self, *arguments: str, timeout: float = 240, **env: str) -> Completed:
        """The `ray` command, told where this cluster is."""
        return subprocess.run(
            [RAY, *arguments], env=self.env(RAY_API_SERVER_ADDRESS=self.dashboard, **env),
            cwd=REPO, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def paste(self, line: str) -> Completed:
        """A line of the guide, as if typed into a shell in the project's folder."""
        return subprocess.run(
            ["bash", "-c", line],
            env=self.env(RAY_API_SERVER_ADDRESS=self.dashboard),
            cwd=REPO, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def submit(self, script: str, *arguments: object, options: tuple[str, ...] = ()) -> Completed:
        """A job of `jobs/`, submitted as docs/how-to/cluster.md says."""
        command = ["python", f"jobs/{script}.py", *map(str, arguments)]
        return self.ray("job", "submit", "--working-dir", ".", *options, "--", *command)

    def drive(self, *arguments: object, **env: str) -> subprocess.Popen[str]:
        """`fer-ray` on this machine, its work on this cluster."""
        driver = subprocess.Popen(
            [sys.executable, "-m", "fer_ray", *map(str, arguments)],
            env=self.env(RAY_ADDRESS=self.address, **env),
            cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._drivers.append(driver)
        return driver

    def close(self) -> None:
        for driver in self._drivers:
            driver.kill()  # one that a failed test has left
            driver.communicate()
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
