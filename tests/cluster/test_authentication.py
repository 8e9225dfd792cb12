"""Ports of a cluster, and clients whose settings or token do not match it."""

import http.client
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
import pytest
import ray

from tests.cluster.head import REPO, Completed, Head, Node
from tests.patience import patience, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PROGRAM = """
import os
from fer_ray.execution.cluster.authentication import prepare_token
from fer_ray.errors import UserError
try:
    prepare_token()
    print("sent" if os.environ.get("RAY_AUTH_MODE") == "token" else "not sent")
except UserError as problem:
    print(problem)
"""

# Owners of ports, by a part of the command line of the process.
OWNERS = {
    "gcs_server": "GCS",
    "raylet/raylet": "raylet",
    "ray::JobSupervisor": "worker",
    "dashboard/dashboard.py": "dashboard",
    "ray::DashboardAgent": "agent",
    "ray::RuntimeEnvAgent": "agent of runtime environments",
    "ray.util.client.server": "client",
    "monitor.py": "autoscaler",
}
# One method of each service.
METHODS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/NumPendingTasks",
    "/ray.rpc.ReporterService/HealthCheck",
    "/ray.rpc.RayletDriver/ClusterInfo",
)


@pytest.fixture(scope="module")
def open_head() -> Iterator[Head]:
    """A head without authentication."""
    head = Head(cpus=0, auth="disabled")
    yield head
    head.close()


def client(head: Head, **changes: str) -> Completed:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=head.env(**{"RAY_ADDRESS": head.address, **changes}),
        cwd=REPO, capture_output=True, text=True, timeout=patience(120), check=True,
    )  # fmt: skip


def listening(node: Node) -> Iterator[tuple[str, str, int]]:
    """Owner, address and port of every listening socket of a node."""
    for pid in node.started():
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            command = " ".join(process.cmdline())
            owner = next((who for mark, who in OWNERS.items() if mark in command), command)
            for socket in process.net_connections("tcp"):
                if socket.status == psutil.CONN_LISTEN:
                    yield owner, socket.laddr.ip.removeprefix("::ffff:"), socket.laddr.port


def without_token(address: str, port: int) -> str:
    """How a port answers a client that sends no token."""
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=10) as answer:
            return "metrics" if answer.read().startswith(b"# HELP") else "open"
    except urllib.error.HTTPError as refused:
        return "refused" if refused.code == 401 else str(refused)
    except (OSError, http.client.HTTPException):  # not HTTP
        codes = {code_of(f"{address}:{port}", method) for method in METHODS}
    unknown = {grpc.StatusCode.UNIMPLEMENTED}
    return "refused" if codes - unknown == {grpc.StatusCode.UNAUTHENTICATED} else f"open: {codes}"


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def code_of(target: str, method: str) -> grpc.StatusCode:
    with grpc.insecure_channel(target) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=10)
        except grpc.RpcError as problem:
            return problem.code()
    return grpc.StatusCode.OK


@pytest.mark.thorough
def test_open_ports_match_the_documentation(bare_head: Head) -> None:
    job = ("job", "submit", "--no-wait", "--", "sleep", "60")  # has its own worker
    assert bare_head.ray(*job).returncode == 0
    wait_until(lambda: any(owner == "worker" for owner, _, _ in listening(bare_head.nodes[0])))
    found = set()
    for owner, address, port in listening(bare_head.nodes[0]):
        everywhere = address in {"0.0.0.0", "::"}
        answer = without_token("127.0.0.1" if everywhere else address, port)
        found.add((owner, "everywhere" if everywhere else "one address", answer))
    metrics = {(owner, "everywhere", "metrics") for owner in ("dashboard", "agent", "autoscaler")}
    assert found - metrics == {
        ("GCS", "everywhere", "refused"),
        ("raylet", "everywhere", "refused"),
        ("worker", "everywhere", "refused"),
        ("dashboard", "one address", "refused"),
        ("agent", "one address", "refused"),
        ("agent", "everywhere", "refused"),
        ("agent of runtime environments", "one address", "refused"),
        ("client", "one address", "refused"),
    }
    # The ports of the head's own metrics are fixed; another cluster on this machine may use them.
    assert ("agent", "everywhere", "metrics") in found


def test_dashboard_requires_a_token(bare_head: Head) -> None:
    open_to_all = ("/", "/api/gcs_healthz", "/api/authentication_mode")
    protected = (
        "/api/jobs/",
        "/api/v0/actors",
        "/api/v0/logs",
        "/nodes?view=summary",
        "/api/version",
    )
    assert {path: status_of(bare_head.dashboard + path) for path in open_to_all} == dict.fromkeys(
        open_to_all, 200
    )
    assert {path: status_of(bare_head.dashboard + path) for path in protected} == dict.fromkeys(
        protected, 401
    )


def test_local_ray_requires_a_token(local_ray: int) -> None:
    address = ray.get_runtime_context().gcs_address
    assert code_of(address, METHODS[0]) == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.thorough
def test_token_is_sent_to_a_cluster_that_requires_it(bare_head: Head) -> None:
    assert client(bare_head, RAY_AUTH_MODE="").stdout == "sent\n"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param(
            {"RAY_AUTH_MODE": "disabled"}, "requires a token, but RAY_AUTH_MODE=disabled is set",
            marks=pytest.mark.thorough,
        ),
        ({"RAY_AUTH_TOKEN": "0" * 64}, "it rejects the token"),
    ],
)  # fmt: skip
def test_other_token_is_refused_with_a_message(
    bare_head: Head, changes: dict[str, str], says: str
) -> None:
    assert says in client(bare_head, **changes).stdout


def test_token_is_checked_at_the_address_that_auto_means(bare_head: Head, tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(bare_head.address)
    auto = {"RAY_ADDRESS": "auto", "RAY_TMPDIR": str(tmp_path), "RAY_AUTH_MODE": ""}
    assert client(bare_head, **auto).stdout == "sent\n"
    no_token = {"RAY_AUTH_TOKEN_PATH": "", "HOME": str(tmp_path)}
    assert "it requires a token" in client(bare_head, **auto, **no_token).stdout


@pytest.mark.thorough
def test_no_token_is_sent_to_an_open_cluster(open_head: Head) -> None:
    done = client(open_head, RAY_AUTH_MODE="")
    assert done.stdout == "not sent\n"
    assert "requires no token: anyone who can reach it can run code" in done.stderr


@pytest.mark.thorough
def test_open_cluster_is_not_joined_with_a_token(open_head: Head) -> None:
    said = client(open_head, RAY_AUTH_MODE="token").stdout
    assert "requires no token, but RAY_AUTH_MODE=token is set" in said
