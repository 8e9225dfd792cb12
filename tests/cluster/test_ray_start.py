"""The lines of the guide that start nodes by hand, on three hosts, and a job submitted to them."""

import os
import secrets
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.parquet import read_table
from tests.cluster.head import REPO, Completed, answers, free_ports
from tests.cluster.hosts import Host, add_host, open_network
from tests.cluster.logins import HOME, USER, create_key, install_login, missing_for_logins, runs_ray
from tests.object_store import s3_environment, upload
from tests.patience import patience, wait_until
from tests.pipelines.sweeps.s3 import environment, s3_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(missing_for_logins() is not None, reason=str(missing_for_logins())),
]
SSH_OPTIONS = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")


class Guide:
    """The lines of the section on machines of one's own, with the addresses of real hosts.

    Attributes:
        variables: Sets the environment; for all other lines.
        start_head: Starts the head.
        start_worker: Starts a worker, for the address of the second host.
        stop: Ends a node.
        tunnel: Forwards the dashboard.
    """

    def __init__(self, hosts: list[Host]) -> None:
        text = (REPO / "docs/how-to/cluster.md").read_text(encoding="utf-8")
        section = text.partition("To start the nodes by hand")[2]
        block, _, rest = section.partition("```sh\n")[2].partition("```")
        for number, host in enumerate(hosts):
            block = block.replace(f"192.0.2.{10 + number}", host.address)
            rest = rest.replace(f"192.0.2.{10 + number}", host.address)
        self.variables, self.start_head, self.start_worker, self.stop = block.splitlines()
        self.tunnel = next(line for line in rest.splitlines() if line.startswith("ssh -N"))


def connect(key: Path, host: Host, line: str) -> Completed:
    """Run a line in a login shell of the user on a host."""
    done = subprocess.run(
        ["ssh", "-i", str(key), *SSH_OPTIONS, f"{USER}@{host.address}", "bash -l"],
        input=line, capture_output=True, text=True, check=False, timeout=patience(120),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def open_tunnel(stack: ExitStack, guide: Guide, key: Path) -> str:
    """Forward the dashboard by the line of the guide, to a free port; returns its URL."""
    [port] = free_ports(1)
    command, _, address = guide.tunnel.partition("#")[0].strip().rpartition(" ")
    words = command.replace("-L 8265:", f"-L {port}:").split()
    quiet = subprocess.DEVNULL
    tunnel = subprocess.Popen(
        [*words, "-i", str(key), *SSH_OPTIONS, f"{USER}@{address}"], stdout=quiet, stderr=quiet
    )
    stack.callback(tunnel.wait)
    stack.callback(tunnel.terminate)
    wait_until(lambda: answers(f"http://127.0.0.1:{port}"), every=1)
    return f"http://127.0.0.1:{port}"


def submit(dashboard: str, token: str, folder: Path, *options: object) -> None:
    """Submit an extraction from a machine outside the cluster."""
    file = folder / "token"
    file.touch(mode=0o600)
    file.write_text(token)
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [Path(sys.executable).with_name("ray"), "job", "submit", "--working-dir", ".", "--",
         "python", "jobs/extract_features.py", *map(str, options)],
        env=own | {"RAY_API_SERVER_ADDRESS": dashboard, "RAY_AUTH_MODE": "token",
                   "RAY_AUTH_TOKEN_PATH": str(file), "no_proxy": "*"},
        cwd=REPO, capture_output=True, text=True, check=False, timeout=patience(600),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_nodes_started_by_hand(tiny_corpus: Path, tiny_frames: Path, tmp_path: Path) -> None:
    token, key, bucket = secrets.token_hex(32), create_key(tmp_path), ObjectPath("s3://fer")
    with open_network() as stack:
        storage = add_host(stack, 4)
        port = stack.enter_context(s3_server(storage.address, storage.wrap))
        stack.enter_context(s3_environment(port, storage.address))
        head, *workers = hosts = [add_host(stack, number) for number in (1, 2, 3)]
        guide = Guide(hosts)
        profile = environment(port, storage.address) | {"PATH": f"{HOME}/venv/bin:$PATH"}
        for host in hosts:
            install_login(host, key, profile)
            connect(key, host, f"umask 077; mkdir ~/.ray; echo {token} > ~/.ray/auth_token")
        connect(key, head, f"{guide.variables}\n{guide.start_head}")
        for host in workers:
            line = guide.start_worker.replace(workers[0].address, host.address)
            connect(key, host, f"{guide.variables}\n{line}")
        upload(tiny_corpus, bucket / "data")
        options = ("--data", bucket / "data", "--out", bucket / "run", "--frames", "all")
        submit(open_tunnel(stack, guide, key), token, tmp_path, *options)
        nodes = connect(key, head, f"{guide.variables}\nray list nodes --filter state=ALIVE")
        assert "Total: 3" in nodes.stdout
        for host in hosts:
            connect(key, host, guide.stop)
        wait_until(lambda: not any(map(runs_ray, hosts)), 60)
        assert read_table(bucket / "run" / "frames").equals(read_table(tiny_frames))
