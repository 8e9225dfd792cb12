"""Where work finds a place: processors and GPUs of a cluster, as it is and as it grows."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fer_ray.errors import UserError

WAIT_S = 1800.0  # for a first node: a spot machine is bought, booted and set up by then
REMIND_S = 300.0  # between two lines that say so
LOOK_S = 2.0  # between two looks at the cluster
PAUSE_S = 0.5  # between two looks whether a task was placed
SETTLED_S = 5  # after which processors that were given back count as free
LEAST_SHARE = 0.25  # of a processor that a task may be given, where a whole one is nowhere free

CPU, GPU = "CPU", "GPU"  # as Ray names them
NAMES = {CPU: "processors", GPU: "GPUs"}

logger = logging.getLogger(__name__)


class Patience:
    """How long a job waits for a cluster that has none of what it needs; tells that it waits."""

    def __init__(self, resource: str = CPU) -> None:
        self._resource = resource
        self._since: float | None = None  # none is there
        self._looked = self._told = float("-inf")

    def check(self) -> None:
        """Look whether the cluster has any by now.

        Raises:
            UserError: It has had none for `WAIT_S`.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        if there(self._resource):
            self._since = None
            return
        self._since = now if self._since is None else self._since
        if now - self._since >= WAIT_S:
            raise UserError(nothing_came(self._resource))
        if now - self._told >= REMIND_S:
            self._told = now
            logger.warning("waiting for %s: the cluster has none", NAMES[self._resource])

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Look meanwhile, and tell; for waiting that is bounded elsewhere."""
        over = threading.Event()

        def look() -> None:
            with contextlib.suppress(UserError):
                while not over.wait(LOOK_S):
                    self.check()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def nothing_came(resource: str) -> str:
    """What to tell a user whose cluster has had none for too long."""
    return (
        f"The cluster has had no {NAMES[resource]} for {WAIT_S / 60:g} minutes. `ray status` on "
        "its head says what it waits for. What was finished is kept; run the same again."
    )


def there(resource: str) -> float:
    """How much of it the cluster has now, in use or not."""
    import ray

    return float(ray.cluster_resources().get(resource, 0))


def wait_for(resource: str, amount: float, refused: Callable[[], None] = lambda: None) -> None:
    """Wait until a node has so much of it; the asking makes a cluster that can grow do so.

    Args:
        resource: Of which there is none yet.
        amount: What one worker needs of it.
        refused: Asked now and then; raises once it is known that none will come.

    Raises:
        UserError: None has come within `WAIT_S`.
    """
    import ray

    patience = Patience(resource)
    needs = {"num_cpus": 0.0, "num_gpus": 0.0, f"num_{resource.lower()}s": amount}
    place = ray.remote(**needs)(_nothing).remote()
    placed: list[Any] = []  # no lock that a signal's exception could leave closed
    place.future().add_done_callback(placed.append)
    try:
        while not placed:  # `ray.wait`, even for no time, makes exit code 1 of a signal
            time.sleep(PAUSE_S)
            patience.check()
            refused()
    except BaseException:
        ray.cancel(place)  # by force, and as it ends, Ray would end this process
        raise


def _nothing() -> None:
    """What a task does that only asks for a place."""


def processor_share() -> float:
    """Processors to ask for per task: one, or what is left where no node has a whole one free.

    A job that itself holds half a processor (`--entrypoint-num-cpus 0.5`) of a node of one would
    wait for a whole one for ever. What the last step's workers held may be counted as theirs for a
    moment longer, so a node of two or more is looked at for a while.
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


def gpu_workers(gpus_per_worker: float, asked: int | None) -> int:
    """How many workers the cluster has GPUs for; one that brings GPUs on demand is waited for.

    Raises:
        UserError: It has none, and nothing brings any.
    """

    def refused() -> None:
        if not _may_bring(GPU):
            raise UserError(
                f"--gpus-per-worker {gpus_per_worker}: the cluster has {there(GPU):g} GPUs. Leave "
                "it out to compute on processors."
            )

    if there(GPU) < gpus_per_worker:
        refused()
        wait_for(GPU, gpus_per_worker, refused)
    workers = int(there(GPU) / gpus_per_worker + 1e-9)
    return min(workers, asked or workers)


def _may_bring(resource: str) -> bool:
    """Whether there is an autoscaler, and it has not found that no node it may start has any."""
    from ray._private.worker import global_worker
    from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

    told = GetClusterStatusReply.FromString(global_worker.gcs_client.get_cluster_status())
    state = told.autoscaling_state
    vain = {name for one in state.infeasible_resource_requests for name in one.resources_bundle}
    return state.last_seen_cluster_resource_state_version > 0 and resource not in vain
