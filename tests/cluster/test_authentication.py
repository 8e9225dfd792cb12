"""What listens on a cluster, and clients whose settings and token are not its own."""

import http.client
import os
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

from tests.cluster.head import REPO, Completed, Head, Node, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = """
import os
from fer_ray.execution.authentication import prepare_token
from fer_ray.errors import UserError
try:
    prepare_token()
    print("sent" if os.environ.get("RAY_AUTH_MODE") == "token" else "not sent")
except UserError as problem:
    print(problem)
"""


ALONE = """
from pathlib import Path
import ray
from fer_ray.execution.authentication import _lets_in
from fer_ray.settings.root import Execution
from fer_ray.execution.session import start_ray
start_ray(Execution(workers=1))
address = ray.get_runtime_context().gcs_address
token = Path.home() / ".ray" / "auth_token"
print(_lets_in(address, None), _lets_in(address, token.read_text()))
ray.shutdown()
"""

# Whose ports they are, by what is found in the command line of a process.
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
# One of each service's methods.
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
    """A head that asks for no token."""
    head = Head(processors=0, auth="disabled")
    yield head
    head.close()


def client(head: Head, **changes: str) -> Completed:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=head.env(RAY_ADDRESS=head.address, **changes),
        cwd=REPO, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip


def listening(node: Node) -> Iterator[tuple[str, str, int]]:
    """Owner, address and port of all that a node has open."""
    for pid in node.started():
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            command = " ".join(process.cmdline())
            owner = next((who for mark, who in OWNERS.items() if mark in command), command)
            for one in process.net_connections("tcp"):
                if one.status == psutil.CONN_LISTEN:
                    yield owner, one.laddr.ip.removeprefix("::ffff:"), one.laddr.port


def without_token(address: str, port: int) -> str:
    """What a port answers to one who sends no token."""
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


def test_what_listens_and_asks_for_a_token_is_as_the_guide_says(bare_head: Head) -> None:
    job = ("job", "submit", "--no-wait", "--", "sleep", "60")  # has a worker of its own
    wait_until(lambda: bare_head.ray(*job).returncode == 0)  # refused until an agent is there
    wait_until(lambda: any(owner == "worker" for owner, _, _ in listening(bare_head.nodes[0])))
    found = set()
    for owner, address, port in listening(bare_head.nodes[0]):
        everywhere = address in {"0.0.0.0", "::"}
        asked = without_token("127.0.0.1" if everywhere else address, port)
        found.add((owner, "everywhere" if everywhere else "one address", asked))
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
    # Of the head's own metrics the ports are fixed: another cluster of this machine may have them.
    assert ("agent", "everywhere", "metrics") in found


def test_the_dashboard_answers_start_page_and_health_without_a_token_and_nothing_else(
    bare_head: Head,
) -> None:
    open_to_all = ("/", "/api/gcs_healthz", "/api/authentication_mode")
    kept = ("/api/jobs/", "/api/v0/actors", "/api/v0/logs", "/nodes?view=summary", "/api/version")
    assert {path: status_of(bare_head.dashboard + path) for path in open_to_all} == dict.fromkeys(
        open_to_all, 200
    )
    assert {path: status_of(bare_head.dashboard + path) for path in kept} == dict.fromkeys(
        kept, 401
    )


def test_ray_on_one_machine_asks_for_the_token(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], env={**own, "HOME": str(tmp_path)},
        cwd=REPO, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout == "False True\n"
    assert (tmp_path / ".ray" / "auth_token").is_file()


def test_a_token_goes_to_a_cluster_that_asks_for_it(bare_head: Head) -> None:
    assert client(bare_head, RAY_AUTH_MODE="").stdout == "sent\n"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "asks for a token, and RAY_AUTH_MODE=disabled is set"),
        ({"RAY_AUTH_TOKEN": "0" * 64}, "it refuses the token"),
    ],
)
def test_a_cluster_that_asks_for_another_token_is_told(
    bare_head: Head, changes: dict[str, str], says: str
) -> None:
    assert says in client(bare_head, **changes).stdout


@pytest.mark.thorough
def test_no_token_goes_to_a_cluster_that_asks_for_none(open_head: Head) -> None:
    done = client(open_head, RAY_AUTH_MODE="")
    assert done.stdout == "not sent\n"
    assert "asks for no token: who reaches it runs code" in done.stderr


@pytest.mark.thorough
def test_a_cluster_without_a_token_is_not_joined_with_one(open_head: Head) -> None:
    said = client(open_head, RAY_AUTH_MODE="token").stdout
    assert "asks for no token, and RAY_AUTH_MODE=token is set here" in said
