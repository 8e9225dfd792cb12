"""A Ray cluster on loopback with token authentication; each node is a separate process tree."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.patience import patience, raise_start_limits, wait_until

REPO = Path(__file__).parent.parent.parent
RAY = str(Path(sys.executable).with_name("ray"))
OBJECT_STORE_BYTES = 100_000_000
# A lost node is detected within seconds; by default it takes a quarter of a minute.
WATCHFUL = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}

FAKE_ID = "f" * 51 + "00000"  # as Ray's provider of such nodes calls the head
# Environment of a head whose autoscaler starts nodes on this machine.
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


def answers(url: str) -> bool:
    """Whether a web server answers, even with an error."""
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports that are not in use, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for unbound in sockets:
        unbound.bind(("127.0.0.1", 0))
    ports = [bound.getsockname()[1] for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports


def written_blocks(out: Path) -> int:
    """Number of blocks that an unfinished extraction has written."""
    return len(list(out.glob("frames.partial/*/*.parquet")))


def committed(store: Path) -> int:
    """Number of commits to the results of a store, including the one that created the table."""
    return len(list(store.glob("results/_delta_log/*.json")))


class Node:
    """`ray start … --block` and the processes that it starts; its output goes to a log file."""

    def __init__(
        self, arguments: list[str], env: dict[str, str], log: Path, wrap: tuple[str, ...] = ()
    ) -> None:
        self._log = log
        self.process = subprocess.Popen(
            [*wrap, RAY, "start", "--block", "--disable-usage-stats", "--min-worker-port=0",
             "--max-worker-port=0", f"--object-store-memory={OBJECT_STORE_BYTES}", *arguments],
            env=env, stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def require_running(self) -> None:
        assert self.process.poll() is None, f"the node ended:\n{self._log.read_text()[-4000:]}"

    def has_lost_raylet(self) -> bool:
        """Whether the raylet ended while the node started, as on a busy machine.

        Ray gives the raylet's agent 15 s to start, which cannot be changed.
        """
        for pid in self.started():
            with suppress(OSError):
                _, name, rest = re.split("[()]", Path(f"/proc/{pid}/stat").read_text(), maxsplit=2)
                if name == "raylet" and rest.split()[0] == "Z":
                    return True
        return False

    def started(self) -> list[int]:
        """Process ids of all processes that this node has started."""
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
        """Kill all processes together, as if the machine failed."""
        for pid in [self.process.pid, *self.started()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(20)


class Head:
    """The head of a cluster, and further nodes on this machine.

    Args:
        cpus: Number of CPUs of the head.
        groups: Nodes that an autoscaler starts on demand, as in a cluster file.
        auth: token, or disabled.
    """

    def __init__(
        self, cpus: int, groups: dict[str, Any] | None = None, auth: str = "token"
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
        options += [f"--num-cpus={cpus}", f"--temp-dir={self.folder / 'ray'}"]
        growing = {}
        if groups is not None:
            options.append(f"--autoscaling-config={self._growth(groups)}")
            growing = AUTOSCALED
        env = self.env(**WATCHFUL, **growing)
        self.nodes = [Node(["--head", *options], env, self.folder / "head.log")]
        self._agent = f"http://127.0.0.1:{agent}"
        wait_until(self._is_ready)

    def _is_ready(self) -> bool:
        """Whether the head accepts jobs, which its agent runs."""
        self.nodes[0].require_running()
        return self._request("/api/jobs/") is not None and answers(self._agent)

    def _growth(self, groups: dict[str, Any]) -> Path:
        """A cluster file whose nodes are processes on this machine."""
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
        """Environment of the nodes and clients of this cluster."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return own | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": self._auth,
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_JOB_STOP_WAIT_TIME_S": "60",
            "RAY_COLOR_PREFIX": "0",
            **raise_start_limits(),
            **changes,
        }

    def add_node(self, cpus: int, wrap: tuple[str, ...] = ()) -> Node:
        agent, grpc = free_ports(2)
        node = Node(
            [f"--address={self.address}", f"--num-cpus={cpus}",
             f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}",
             f"--temp-dir={self.folder / f'n{agent}'}"],  # or nodes delete each other's files
            self.env(), self.folder / f"n{agent}.log", wrap,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def add_nodes(self, *cpus: int) -> None:
        """Add nodes and wait until the cluster lists them."""
        expected = self.nodes_alive() + len(cpus)
        for count in cpus:
            self.add_node(count)
        self.wait_for_nodes(expected)

    def remove_nodes(self) -> None:
        """Kill all nodes except the head and wait until the cluster has noticed."""
        while len(self.nodes) > 1:
            self.nodes.pop().kill()
        self.wait_for_nodes(1)

    def wait_for_nodes(self, count: int) -> None:
        def listed() -> bool:
            for node in self.nodes:
                node.require_running()
            return self.nodes_alive() == count

        wait_until(listed)

    def _request(self, path: str, method: str = "GET") -> Any:
        """JSON from the dashboard, faster than by the `ray` command; None without an answer."""
        headers = {"Authorization": f"Bearer {self.token.read_text()}"}
        request = urllib.request.Request(self.dashboard + path, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except OSError:
            return None

    def stop_job(self, name: str) -> None:
        """Stop a job at once; `ray job stop` would send the same request seconds later."""
        assert self._request(f"/api/jobs/{name}/stop", method="POST") == {"stopped": True}
        wait_until(lambda: self._request(f"/api/jobs/{name}")["status"] != "RUNNING")

    def alive(self, kind: str) -> list[dict[str, Any]]:
        """Nodes or actors that are alive."""
        path = f"/api/v0/{kind}?filter_keys=state&filter_predicates=%3D&filter_values=ALIVE"
        answer = self._request(path)
        return answer["data"]["result"]["result"] if answer else []

    def nodes_alive(self) -> int:
        return len(self.alive("nodes"))

    def ray(self, *arguments: str, **env: str) -> Completed:
        """Run the `ray` command against this cluster."""
        return subprocess.run(
            [RAY, *arguments], env=self.env(RAY_API_SERVER_ADDRESS=self.dashboard, **env),
            cwd=REPO, capture_output=True, text=True, timeout=patience(240), check=False,
        )  # fmt: skip

    def paste(self, line: str) -> Completed:
        """Run a line of the guide in a shell in the repository."""
        return subprocess.run(
            ["bash", "-c", line],
            env=self.env(RAY_API_SERVER_ADDRESS=self.dashboard),
            cwd=REPO, capture_output=True, text=True, timeout=patience(240), check=False,
        )  # fmt: skip

    def submit(self, script: str, *arguments: object, options: tuple[str, ...] = ()) -> Completed:
        """Submit a job of `jobs/` as docs/how-to/cluster.md says."""
        command = ["python", f"jobs/{script}.py", *map(str, arguments)]
        return self.ray("job", "submit", "--working-dir", ".", *options, "--", *command)

    def drive(self, *arguments: object, **env: str) -> subprocess.Popen[str]:
        """Start `fer-ray` on this machine with its work on this cluster."""
        driver = subprocess.Popen(
            [sys.executable, "-m", "fer_ray", *map(str, arguments)],
            env=self.env(RAY_ADDRESS=self.address, **env),
            cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._drivers.append(driver)
        return driver

    def close(self) -> None:
        for driver in self._drivers:
            driver.kill()  # a failed test may have left it
            driver.wait()
            driver.stdout.close()
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
