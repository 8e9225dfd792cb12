"""Hosts with addresses of their own: namespaces on a bridge. Needs root, Linux and `ip`.

python -m tests.cluster.hosts    # creates three hosts, prints how to enter them, waits for Enter
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock

from tests.patience import wait_until

BRIDGE = "fer-br"
NETWORK = "10.77.0"
LOCK = "/tmp/fer-ray-hosts.lock"  # names and addresses belong to one process at a time
# Process 1 of a host. It reaps orphans, and its end kills all processes of the host.
INIT = """
set -e
mount -t tmpfs -o mode=1777 none /tmp/ray
hostname "$0"
sleep infinity & wait
"""
NAMESPACES = ("--mount", "--uts", "--pid")


def missing_for_hosts() -> str | None:
    """What this machine lacks for `open_hosts`; None if nothing is missing."""
    if os.environ.get("FER_RAY_TEST_HOSTS") != "1":
        return "creates network namespaces and a bridge: set FER_RAY_TEST_HOSTS=1"
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    bridge = ("ip", "link", "add", BRIDGE, "type", "bridge")
    probe = ["unshare", "--net", *NAMESPACES, "--fork", *bridge]
    created = subprocess.run(probe, capture_output=True).returncode == 0
    return None if created else "needs the right to create namespaces and bridges"


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


def _remove(name: str) -> None:
    # Deleting a namespace removes its link only some time later.
    _ip("link", "del", name, check=False)
    _ip("netns", "del", name, check=False)


class Host:
    """A host with its own network, processes, mounts and name, and an empty `/tmp/ray`.

    Args:
        number: From 1; the last part of the address is 10 more.
        cable: Delay in seconds and share of lost frames in each direction; None for a plain link.

    Attributes:
        name: Host name.
        address: IP address on the bridge.
        wrap: Beginning of a command that runs on the host.
    """

    def __init__(self, number: int, cable: tuple[float, float] | None = None) -> None:
        self.name = f"fer-h{number}"
        self.address = f"{NETWORK}.{10 + number}"
        self._processes: list[subprocess.Popen[bytes]] = []
        _remove(self.name)  # of an earlier process that was killed
        _ip("netns", "add", self.name)
        if cable is None:
            _ip("link", "add", self.name, "type", "veth",
                "peer", "name", "eth0", "netns", self.name)  # fmt: skip
        else:
            self._lay(*cable)
        _ip("link", "set", self.name, "master", BRIDGE, "up")
        for change in (("addr", "add", f"{self.address}/24", "dev", "eth0"),
                       ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):  # fmt: skip
            _ip("-n", self.name, *change)
        Path("/tmp/ray").mkdir(exist_ok=True)
        self._boot()

    def _lay(self, delay_s: float, loss: float) -> None:
        command = [sys.executable, "-m", "tests.cluster.cable", self.name, str(delay_s), str(loss)]
        cable = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._processes.append(cable)
        assert cable.stdout is not None
        assert cable.stdout.readline() == b"connected\n"

    def _boot(self) -> None:
        isolate = ("unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc")
        command = ["ip", "netns", "exec", self.name, *isolate, "bash", "-c", INIT, self.name]
        holder = subprocess.Popen(command)
        self._processes.append(holder)
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        wait_until(lambda: children.read_text().split(), every=0.02)
        self.wrap = ("nsenter", "-t", children.read_text().split()[0], "--net", *NAMESPACES, "--")
        # `hostname` is the last step of the boot.
        wait_until(lambda: self.run("hostname").stdout.strip() == self.name, every=0.05)

    def run(
        self, *command: str, env: dict[str, str] | None = None, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on the host and return its output."""
        done = subprocess.run(
            [*self.wrap, *command], env=env, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def set_link(self, up: bool) -> None:
        """Connect the host to the network, or cut it off."""
        _ip("link", "set", self.name, "up" if up else "down")

    def disconnect(self, seconds: float) -> None:
        """Cut the host off for some time."""
        self.set_link(up=False)
        time.sleep(seconds)
        self.set_link(up=True)

    def close(self) -> None:
        """Kill all processes of the host and remove it."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        _remove(self.name)


@contextmanager
def open_network() -> Iterator[ExitStack]:
    """Create the bridge that hosts connect to; this machine has the address `NETWORK`.1 on it.

    Waits until no other process has such a network.

    Yields:
        A stack that closes the hosts before the bridge is removed.
    """
    with ExitStack() as stack:
        stack.enter_context(FileLock(LOCK))
        _ip("link", "del", BRIDGE, check=False)  # of an earlier process that was killed
        _ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "del", BRIDGE, check=False)
        _ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        yield stack


@contextmanager
def open_hosts(count: int) -> Iterator[list[Host]]:
    """Create a network and hosts, and remove them."""
    with open_network() as stack:
        yield [add_host(stack, number) for number in range(1, count + 1)]


def add_host(stack: ExitStack, number: int, cable: tuple[float, float] | None = None) -> Host:
    """Connect another host to an open network; see `Host`."""
    host = Host(number, cable)
    stack.callback(host.close)
    return host


def main() -> None:
    """Create three hosts and wait for Enter."""
    with open_hosts(3) as hosts:
        for host in hosts:
            sys.stdout.write(f"{host.name} {host.address}: {' '.join(host.wrap)} bash\n")
        input("Press Enter to remove them.")


if __name__ == "__main__":
    main()
