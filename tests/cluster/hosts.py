"""Hosts with addresses of their own: network namespaces on a bridge. Needs root and `ip`.

python -m tests.cluster.hosts    # creates three hosts, prints how to enter them, waits for Enter
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

BRIDGE = "fer-br"
NETWORK = "10.77.0"


def missing_for_hosts() -> str | None:
    """What this machine lacks for `open_hosts`; None if nothing is missing."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]
    return f"needs {', '.join(missing)}" if missing else None


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)


def _remove(name: str) -> None:
    # Deleting a namespace removes its link only some time later.
    _ip("link", "del", name, check=False)
    _ip("netns", "del", name, check=False)


class Host:
    """A network namespace with an address, and with its own empty `/tmp/ray`.

    Args:
        number: From 1; the last part of the address is 10 more.

    Attributes:
        address: IP address on the bridge.
        wrap: Beginning of a command that runs on the host.
    """

    def __init__(self, number: int) -> None:
        self._name = f"fer-h{number}"
        self.address = f"{NETWORK}.{10 + number}"
        _remove(self._name)  # of an earlier process that was killed
        _ip("netns", "add", self._name)
        _ip("link", "add", self._name, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        _ip("link", "set", self._name, "master", BRIDGE, "up")
        for change in (("addr", "add", f"{self.address}/24", "dev", "eth0"),
                       ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):  # fmt: skip
            _ip("-n", self._name, *change)
        Path("/tmp/ray").mkdir(exist_ok=True)
        hide = "mount -t tmpfs none /tmp/ray && exec sleep infinity"
        unshare = ("unshare", "--mount", "sh", "-c", hide)
        self._holder = subprocess.Popen(["ip", "netns", "exec", self._name, *unshare])
        self.wrap = ("nsenter", "-t", str(self._holder.pid), "-n", "-m", "--")

    def set_link(self, up: bool) -> None:
        """Connect the host to the network, or cut it off."""
        _ip("link", "set", self._name, "up" if up else "down")

    def close(self) -> None:
        """Kill all processes of the host and remove it."""
        found = subprocess.run(
            ["ip", "netns", "pids", self._name], capture_output=True, text=True, check=False
        )
        subprocess.run(["kill", "-9", *found.stdout.split()], check=False, capture_output=True)
        self._holder.wait()
        _remove(self._name)


@contextmanager
def open_hosts(count: int) -> Iterator[list[Host]]:
    """Create hosts on a bridge that this machine is also connected to, and remove them."""
    with ExitStack() as stack:
        _ip("link", "add", BRIDGE, "type", "bridge")
        stack.callback(_ip, "link", "del", BRIDGE, check=False)
        _ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        hosts = []
        for number in range(1, count + 1):
            hosts.append(Host(number))
            stack.callback(hosts[-1].close)
        yield hosts
