"""`ray up` on machines of one's own: three hosts with SSH, and a bucket on a fourth."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from fer_ray.storage.objects.object_path import ObjectPath
from fer_ray.storage.parquet import read_table
from tests.cluster.head import REPO, Completed, answers, free_ports
from tests.cluster.hosts import Host, add_host, open_network
from tests.cluster.logins import create_key, install_login, missing_for_logins, runs_ray
from tests.object_store import s3_environment, upload
from tests.patience import patience, wait_until
from tests.pipelines.sweeps.s3 import environment, s3_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(missing_for_logins() is not None, reason=str(missing_for_logins())),
]


# Where `ray up` remembers the machines of a cluster.
STATE = Path("/tmp/ray/cluster-fer-ray-onprem.state")


class Launcher:
    """The user's own machine, with the cluster file and the SSH key.

    Args:
        folder: Where the home folder is created.
        hosts: The first is the head.
    """

    def __init__(self, folder: Path, hosts: list[Host], profile: dict[str, str]) -> None:
        self.hosts = hosts
        self.file, token = folder / "cluster.yaml", folder / ".ray" / "auth_token"
        token.parent.mkdir(mode=0o700)
        token.write_text(secrets.token_hex(32))
        key = create_key(folder)
        for host in hosts:
            install_login(host, key, profile)
        self.file.write_text(yaml.safe_dump(_own_values(hosts, key)))
        [port] = free_ports(1)
        self._port, self.dashboard = port, f"http://127.0.0.1:{port}"
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.env = own | {
            "HOME": str(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "no_proxy": "*",
            "RAY_API_SERVER_ADDRESS": self.dashboard,
        }  # fmt: skip

    def ray(self, *arguments: object) -> Completed:
        done = subprocess.run(
            ["ray", *map(str, arguments)], env=self.env, cwd=REPO, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience(600),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done

    def nodes_alive(self) -> int:
        done = self.ray("exec", self.file, "ray list nodes --filter state=ALIVE")
        [total] = re.findall(r"Total: (\d+)", done.stdout)
        return int(total)

    def forward_dashboard(self, stack: ExitStack) -> None:
        """Forward the dashboard through SSH, as `ray dashboard` does until it is stopped."""
        command = ["ray", "dashboard", "--port", str(self._port), str(self.file)]
        tunnel = subprocess.Popen(
            command, env=self.env, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        stack.callback(tunnel.wait)
        stack.callback(tunnel.terminate)
        wait_until(lambda: answers(self.dashboard), every=1)


def _own_values(hosts: list[Host], key: Path) -> dict[str, object]:
    """The file of the repository with the values that its user sets.

    Everything is in a bucket, so the hosts mount no shared folder.
    """
    config = yaml.safe_load((REPO / "deploy" / "cluster-onprem.yaml").read_text(encoding="utf-8"))
    workers = [host.address for host in hosts[1:]]
    config["provider"] |= {"head_ip": hosts[0].address, "worker_ips": workers}
    config["auth"]["ssh_private_key"] = str(key)
    config["setup_commands"].remove("mountpoint -q /mnt/fer")
    return config


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[tuple[Launcher, ObjectPath, ExitStack]]:
    STATE.unlink(missing_ok=True)
    with open_network() as stack:
        storage = add_host(stack, 4)
        port = stack.enter_context(s3_server(storage.address, storage.wrap))
        stack.enter_context(s3_environment(port, storage.address))
        hosts = [add_host(stack, number) for number in (1, 2, 3)]
        profile = environment(port, storage.address)
        yield Launcher(tmp_path, hosts, profile), ObjectPath("s3://fer"), stack


def test_study_on_a_launched_cluster(
    launcher: tuple[Launcher, ObjectPath, ExitStack], corpus: Path, run_dir: Path
) -> None:
    user, bucket, stack = launcher
    upload(corpus, bucket / "data")
    user.ray("up", "--disable-usage-stats", "--yes", user.file)
    wait_until(lambda: user.nodes_alive() == 3, 300, every=5)
    user.forward_dashboard(stack)
    user.ray(
        "job", "submit", "--working-dir", ".", "--", "python", "jobs/full_study.py",
        "--data", bucket / "data", "--out", bucket / "run", "--profile", "fast",
    )  # fmt: skip
    assert read_table(bucket / "run" / "frames").equals(read_table(run_dir / "frames"))
    columns = [
        name
        for name in read_table(run_dir / "trials").column_names
        if name not in ("seconds", "fingerprint")  # which names the source
    ]
    assert read_table(bucket / "run" / "trials", columns=columns).equals(
        read_table(run_dir / "trials", columns=columns)
    )
    user.ray("down", "--yes", user.file)
    wait_until(lambda: not any(map(runs_ray, user.hosts)), 180, every=5)
