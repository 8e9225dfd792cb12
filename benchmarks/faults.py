"""What goes wrong on the hosts of a cluster while `host_faults` runs jobs on it."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

from tests.cluster.host_cluster import FIRST, HEAD, SECOND, HostCluster

REPO = Path(__file__).parent.parent
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
AN_HOUR_AHEAD = {"LD_PRELOAD": FAKETIME, "FAKETIME": "+1h"}

Change = Callable[[HostCluster], None]
# The event is set when the job ends.
Disturb = Callable[[HostCluster, Event], None]


def do_nothing(cluster: HostCluster, ended: Event | None = None) -> None:
    """Change nothing."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        prepare: Called before the job starts.
        disturb: Called in the middle of the job, in a thread. None: the fault is always present.
        repair: Called before the command is rerun, if the job failed.
        cable: Delay in seconds and share of lost frames in each direction, of the second worker.
        driver: Number of the host with the driver.
    """

    prepare: Change = do_nothing
    disturb: Disturb | None = None
    repair: Change = do_nothing
    cable: tuple[float, float] | None = None
    driver: int = HEAD


def _disconnect(cluster: HostCluster, ended: Event, seconds: float | None = None) -> None:
    cluster.hosts[SECOND].set_link(up=False)
    ended.wait(seconds)
    cluster.hosts[SECOND].set_link(up=True)


def _restart_second(cluster: HostCluster, **environment: str) -> None:
    cluster.nodes[SECOND].kill()
    cluster.start(SECOND, **environment)


def _install_other_version(cluster: HostCluster) -> None:
    host, folder = cluster.hosts[SECOND], tempfile.mkdtemp(prefix="fer-version-")
    host.run("cp", "-r", str(REPO / "fer_ray"), folder)
    host.run("sed", "-i", 's/^__version__ = "/&9./', f"{folder}/fer_ray/__init__.py")
    host.run("mount", "--bind", f"{folder}/fer_ray", str(REPO / "fer_ray"))
    _restart_second(cluster)


def _install_same_version(cluster: HostCluster) -> None:
    cluster.hosts[SECOND].run("umount", str(REPO / "fer_ray"))
    _restart_second(cluster)


def _restart_all(cluster: HostCluster) -> None:
    for node in cluster.nodes.values():
        node.kill()
    cluster.restart_ended()


FAULTS = {
    "none": Fault(),
    "link down for good": Fault(disturb=_disconnect),
    "link down for 20 s": Fault(disturb=partial(_disconnect, seconds=20)),
    "link down for 5 min": Fault(disturb=partial(_disconnect, seconds=300)),
    "5% of packets lost": Fault(cable=(0.0, 0.05)),
    "100 ms delay": Fault(cable=(0.05, 0.0)),
    "clock an hour ahead": Fault(
        prepare=lambda cluster: _restart_second(cluster, **AN_HOUR_AHEAD), repair=_restart_second
    ),
    "other fer_ray version": Fault(prepare=_install_other_version, repair=_install_same_version),
    "joins late": Fault(
        prepare=lambda cluster: cluster.nodes[SECOND].kill(),
        disturb=lambda cluster, ended: cluster.start(SECOND),
    ),
    "head lost": Fault(
        disturb=lambda cluster, ended: cluster.nodes[HEAD].kill(),
        repair=_restart_all,
        driver=FIRST,
    ),
}
