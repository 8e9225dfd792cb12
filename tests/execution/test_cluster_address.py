"""Clusters that cannot be joined: other forms of addresses, closed and mute ports, proxies."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from ray._private import services

from fer_ray.errors import UserError
from fer_ray.execution.cluster import authentication
from fer_ray.execution.cluster.authentication import prepare_token
from fer_ray.execution.cluster.cluster_address import locate_cluster, require_open_port
from tests.patience import patience

JOIN = """
from fer_ray.execution.cluster.session import start_ray
from fer_ray.settings.root import Execution
start_ray(Execution())
"""


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address_of(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_auto_is_the_cluster_that_ray_would_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if only its processes show that it is running."""
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: {"10.0.0.7:6379"})
    assert locate_cluster("auto") == "10.0.0.7:6379"
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    assert locate_cluster("auto") == "auto"
    assert locate_cluster("10.0.0.8:6379") == "10.0.0.8:6379"


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("ray://head:10001", "set RAY_ADDRESS=head:6379"),
        ("http://head:8265", "Set it to HOST:6379"),
        ("head", "Write it as HOST:6379"),
        ("127.0.0.1:1", "Connection refused. Check the address"),
        ("no-such-host.invalid:6379", "No cluster answers at RAY_ADDRESS=no-such-host"),
        ("127.0.0.1:99999", "No cluster answers"),
    ],
)
def test_unusable_address_is_refused(address: str, advice: str) -> None:
    with pytest.raises(UserError) as refused:
        require_open_port(address)
    assert advice in str(refused.value)


def test_another_service_is_refused(mute: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address_of(mute))
    monkeypatch.setattr(authentication, "ANSWER_TIMEOUT_S", 1)
    with pytest.raises(UserError, match="does not respond like Ray"):
        prepare_token()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_job_that_waits_for_a_cluster(
    number: signal.Signals, mute: socket.socket
) -> None:
    env = {**os.environ, "RAY_ADDRESS": address_of(mute)}
    job = subprocess.Popen([sys.executable, "-c", JOIN], env=env, stderr=subprocess.DEVNULL)
    for _ in range(2):  # the check of the port, then that of the token
        mute.accept()
    sent = time.monotonic()
    job.send_signal(number)
    job.wait(patience(30))
    assert time.monotonic() - sent < patience(4)


def test_proxy_is_not_used_within_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
    service, method = authentication.CHECK_ALIVE.strip("/").split("/")
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {method: handler})]
    )
    monkeypatch.setenv("RAY_ADDRESS", f"localhost:{server.add_insecure_port('localhost:0')}")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    for name in ("https_proxy", "http_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.start()
    prepare_token()
    server.stop(None)
    assert "RAY_AUTH_MODE" not in os.environ
