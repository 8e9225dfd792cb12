"""A cluster of hosts with addresses of their own, whose links fail while a job runs."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.parquet import read_table
from tests.cluster.head import REPO, WATCHFUL, Node
from tests.cluster.hosts import NETWORK, Host, missing_for_hosts, open_hosts
from tests.object_store import s3_environment, upload
from tests.patience import patience, raise_start_limits, wait_until
from tests.pipelines.sweeps.s3 import environment, s3_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(missing_for_hosts() is not None, reason=str(missing_for_hosts())),
]
PORT = 6379


class HostCluster:
    """A head without CPUs and workers with one CPU, each on a host of its own.

    Args:
        hosts: The first is the head.
        scratch: Folder for the token and logs.
        port: Port of the S3 server on this machine.
    """

    def __init__(self, hosts: list[Host], scratch: Path, port: int) -> None:
        token = scratch / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self._env = own | environment(port) | raise_start_limits() | WATCHFUL | {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token),
            "AWS_ENDPOINT_URL": f"http://{NETWORK}.1:{port}", "no_proxy": "*",
        }  # fmt: skip
        self._hosts, self._address = hosts, f"{hosts[0].address}:{PORT}"
        nodes = [("--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false")]
        nodes += [(f"--address={self._address}", "--num-cpus=1")] * (len(hosts) - 1)
        self.nodes = []
        for number, (host, options) in enumerate(zip(hosts, nodes, strict=True)):
            log = scratch / f"node{number}.log"
            arguments = [*options, f"--node-ip-address={host.address}"]
            self.nodes.append(Node(arguments, self._env, log, host.wrap))
            if number == 0:
                wait_until(partial(_has_started, log))

    def drive(self, *command: object) -> "subprocess.Popen[str]":
        """Start `fer-ray` on the head's host."""
        return subprocess.Popen(
            [*self._hosts[0].wrap, sys.executable, "-m", "fer_ray", *map(str, command)],
            env={**self._env, "RAY_ADDRESS": self._address}, cwd=REPO, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


def _has_started(log: Path) -> bool:
    return "Ray runtime started" in log.read_text()


@pytest.fixture
def bucket() -> Iterator[tuple[ObjectPath, int]]:
    with s3_server("0.0.0.0") as port, s3_environment(port):
        yield ObjectPath("s3://fer"), port


@pytest.mark.parametrize("down_s", [20, None])
def test_extraction_survives_a_lost_link(
    bucket: tuple[ObjectPath, int], tiny_corpus: Path, tiny_frames: Path, tmp_path: Path,
    down_s: float | None,
) -> None:  # fmt: skip
    folder, port = bucket
    upload(tiny_corpus, folder / "data")
    out = folder / "run"
    job = ("extract", "--data", folder / "data", "--out", out, "--frames", "all",
           "--set", "execution.block_images=1")  # fmt: skip

    def stored() -> int:
        return len(list((out / "frames.partial").rglob("*.parquet")))

    with ExitStack() as stack:
        hosts = stack.enter_context(open_hosts(3))
        cluster = HostCluster(hosts, tmp_path, port)
        driver = cluster.drive(*job)
        stack.callback(driver.kill)
        wait_until(lambda: stored() >= 2 or driver.poll() is not None)
        hosts[2].set_link(up=False)
        if down_s is not None:
            time.sleep(down_s)
            hosts[2].set_link(up=True)
        said, _ = driver.communicate(timeout=patience(300))
        assert driver.returncode == 0, said
    assert read_table(out / "frames").equals(read_table(tiny_frames))
