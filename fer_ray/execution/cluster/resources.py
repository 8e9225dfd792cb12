"""CPUs and GPUs of a cluster: counting them, waiting for them, and the share of a task."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fer_ray.errors import UserError

WAIT_S = 1800.0  # for a first node: enough to buy, boot and set up a spot machine
REMIND_S = 300.0  # between two warnings while waiting
CHECK_S = 2.0  # between two checks of the cluster
PAUSE_S = 0.5  # between two checks whether a task is placed
SETTLED_S = 5  # until Ray counts released CPUs as free
LEAST_SHARE = 0.25  # of a CPU for a task, where no node has a full one free

CPU, GPU = "CPU", "GPU"  # Ray's names
NAMES = {CPU: "CPUs", GPU: "GPUs"}

logger = logging.getLogger(__name__)


class ResourceWait:
    """Time limit and warnings for a cluster without any of a resource.

    Args:
        resource: `CPU` or `GPU`.
    """

    def __init__(self, resource: str = CPU) -> None:
        self._resource = resource
        self._missing_since: float | None = None
        self._checked = self._warned = float("-inf")

    def check(self) -> None:
        """Check whether the cluster has any of the resource.

        Raises:
            UserError: The cluster has had none of it for `WAIT_S`.
        """
        now = time.monotonic()
        if now - self._checked < CHECK_S:
            return
        self._checked = now
        if cluster_total(self._resource):
            self._missing_since = None
            return
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now - self._missing_since >= WAIT_S:
            raise UserError(no_resource_message(self._resource))
        if now - self._warned >= REMIND_S:
            self._warned = now
            logger.warning("waiting for %s: the cluster has none", NAMES[self._resource])

    @contextlib.contextmanager
    def warnings(self) -> Iterator[None]:
        """Check and warn in the background, for a wait that has its own time limit."""
        stopped = threading.Event()

        def check_repeatedly() -> None:
            with contextlib.suppress(UserError):
                while not stopped.wait(CHECK_S):
                    self.check()

        thread = threading.Thread(target=check_repeatedly, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def no_resource_message(resource: str) -> str:
    """Message for a cluster that has had none of a resource for too long."""
    return (
        f"The cluster has had no {NAMES[resource]} for {WAIT_S / 60:g} minutes. Run `ray status` "
        "on its head node to see what it waits for. Finished work is stored: rerun the same "
        "command to resume."
    )


def cluster_total(resource: str) -> float:
    """Return how much of a resource the cluster has now, in use or free."""
    import ray

    return float(ray.cluster_resources().get(resource, 0))


def wait_for(resource: str, amount: float, check: Callable[[], None] = lambda: None) -> None:
    """Wait until a node has an amount of a resource; the request makes an autoscaler add nodes.

    Args:
        resource: Resource that the cluster does not have yet.
        amount: Amount that one worker needs.
        check: Called repeatedly; raises once it is known that no node will have the resource.

    Raises:
        UserError: No node has it within `WAIT_S`.
    """
    import ray

    wait = ResourceWait(resource)
    requested = {"num_cpus": 0.0, "num_gpus": 0.0, f"num_{resource.lower()}s": amount}
    task = ray.remote(**requested)(_do_nothing).remote()
    placed: list[Any] = []  # not a lock, which an exception from a signal could leave locked
    task.future().add_done_callback(placed.append)
    try:
        while not placed:  # `ray.wait`, even without a timeout, turns a signal into exit code 1
            time.sleep(PAUSE_S)
            wait.check()
            check()
    except BaseException:
        ray.cancel(task)  # without force: Ray would end this process at exit
        raise


def _do_nothing() -> None:
    """The task that only requests a resource."""


def cpu_share() -> float:
    """Return the CPUs to request per task: one, or the largest free share if no node has one free.

    A job that occupies half a CPU (`--entrypoint-num-cpus 0.5`) on a node with one CPU would
    otherwise wait forever. CPUs of the previous step's workers may be counted as used for a moment
    longer, so nodes with two or more are checked for up to `SETTLED_S`.
    """
    from ray._private.state import state

    largest, end = 0.0, time.monotonic() + SETTLED_S
    while time.monotonic() < end:
        free = [node.get(CPU, 0.0) for node in state.available_resources_per_node().values()]
        total = [node.get(CPU, 0.0) for node in state.total_resources_per_node().values()]
        largest = max(free, default=0.0)
        settled = largest >= LEAST_SHARE and max(total, default=0.0) < 2
        if largest >= 1 or not any(total) or settled:
            break
        time.sleep(0.1)
    return largest if LEAST_SHARE <= largest < 1 else 1.0


def gpu_workers(gpus_per_worker: float, limit: int | None) -> int:
    """Number of workers that the cluster has GPUs for; waits if an autoscaler may add GPUs.

    Args:
        gpus_per_worker: GPUs of one worker.
        limit: Maximum number of workers. None: no limit.

    Raises:
        UserError: The cluster has no GPUs and cannot add any.
    """

    def require_possible() -> None:
        if not _autoscaler_may_add(GPU):
            raise UserError(
                f"--gpus-per-worker {gpus_per_worker}: the cluster has {cluster_total(GPU):g} "
                "GPUs. Omit the option to compute on CPUs."
            )

    if cluster_total(GPU) < gpus_per_worker:
        require_possible()
        wait_for(GPU, gpus_per_worker, require_possible)
    workers = int(cluster_total(GPU) / gpus_per_worker + 1e-9)
    return min(workers, limit or workers)


def _autoscaler_may_add(resource: str) -> bool:
    """Return whether there is an autoscaler that has not found the resource infeasible."""
    from ray._private.worker import global_worker
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    reply = GetClusterStatusReply.FromString(global_worker.gcs_client.get_cluster_status())
    state = reply.autoscaling_state
    requests = state.infeasible_resource_requests
    infeasible = {name for request in requests for name in request.resources_bundle}
    return state.last_seen_cluster_resource_state_version > 0 and resource not in infeasible
