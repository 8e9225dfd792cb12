"""Start of Ray or connection to a cluster, and checks of storage that its nodes share."""

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fer_ray.errors import UserError
from fer_ray.execution.authentication import join_error_message, prepare_token
from fer_ray.execution.resources import CPU, LEAST_SHARE, WAIT_S, cluster_total, wait_for
from fer_ray.execution.signals import defer_signals, on_main_thread, terminate
from fer_ray.settings.root import Execution
from fer_ray.storage.files import unreachable
from fer_ray.storage.paths import is_object, local_paths

# Many times the blocks in flight: images never enter the object store.
LOCAL_OBJECT_STORE_BYTES = 268_435_456
NODE_ANSWER_TIMEOUT_S = 120  # a node that joins starts its first worker within seconds
SYNC_S = 3  # until a file created or removed on another node is visible (NFS: actimeo=1)

RAY_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # trials stay in the job's working folder
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # A task on a host whose link fails is repeated within a minute, rather than within eight.
    "RAY_grpc_client_keepalive_time_ms": "20000",
    "RAY_grpc_client_keepalive_timeout_ms": "20000",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results are stored as Parquet
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

# Variables that a cluster's workers receive: no credentials, which the dashboard would show.
OBJECT_STORE = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ALLOW_HTTP")
FORWARDED = ("KERAS_BACKEND", *OBJECT_STORE)

logger = logging.getLogger(__name__)


def start_ray(execution: Execution) -> None:
    """Start Ray on this machine, or join the cluster at RAY_ADDRESS. No effect if Ray is running.

    Raises:
        UserError: Ray cannot be started, or the cluster cannot be joined.
    """
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    prepare_token()
    import ray

    if not ray.is_initialized():
        with defer_signals():
            _start(execution)
        _configure_data()
        if on_main_thread():
            signal.signal(signal.SIGTERM, terminate)


def ensure_ray(execution: Execution) -> int:
    """`start_ray`, then return `available_workers`."""
    start_ray(execution)
    return available_workers(execution)


def available_workers(execution: Execution) -> int:
    """Return the number of tasks that the cluster can run at a time in its current size.

    Waits for the first CPU.

    Raises:
        UserError: The cluster gets no CPU.
    """
    if not cluster_total(CPU):
        wait_for(CPU, LEAST_SHARE)
    cpus = max(1, int(cluster_total(CPU)))
    return min(cpus, execution.workers or cpus)


@contextlib.contextmanager
def ray_closed_after() -> Iterator[None]:
    """Shut Ray down at the end of the block if it was started there."""
    running = _is_ray_running()
    try:
        yield
    finally:
        if not running and "ray" in sys.modules:
            sys.modules["ray"].shutdown()


def _is_ray_running() -> bool:
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def require_shared(out: Path, *sources: Path) -> None:
    """Require that all nodes of the cluster can access the same folders on disks.

    Nodes that join later check this themselves (`require_reachable`).

    Args:
        out: Run folder, which exists.
        sources: Folders that are only read.

    Raises:
        UserError: A node cannot access one of them.
    """
    import ray

    local_sources = local_paths(*sources)
    if missing := unreachable(local_sources):
        raise UserError(not_shared_message(missing[0]))
    driver = ray.get_runtime_context().get_node_id()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != driver]
    if not nodes or not local_paths(out, *sources):
        return
    folder = None if is_object(out) else out
    with tempfile.NamedTemporaryFile(prefix=".seen-by-all-", dir=folder) as file:
        marker = Path(file.name)
        missing = _unreachable_from(nodes, [*([marker] if folder else []), *local_sources])
    if missing:
        raise UserError(not_shared_message(out if marker in missing else missing[0]))


def _unreachable_from(nodes: list[str], paths: list[Path]) -> list[Path]:
    """Select the paths that any of `nodes` cannot access; nodes that are lost are ignored."""
    import ray

    missing: list[Path] = []
    for reference in [_check_on(node, paths) for node in nodes]:
        try:
            missing += ray.get(reference, timeout=NODE_ANSWER_TIMEOUT_S)
        except ray.exceptions.RayError as problem:
            logger.warning("cannot check whether a node can access the storage: %s", problem)
    return missing


def has_several_nodes() -> bool:
    """Return whether Ray is running on more than one node."""
    if not _is_ray_running():
        return False
    return [node["Alive"] for node in sys.modules["ray"].nodes()].count(True) > 1


def require_reachable(*folders: Path) -> None:
    """Require that this node can access some folders.

    Raises:
        UserError: It cannot.
    """
    for folder in unreachable(local_paths(*folders)):
        raise UserError(not_shared_message(folder))


def require_same(root: Path, paths: list[str], node: str) -> None:
    """Require that images that this task cannot read are missing, not only invisible to its node.

    Args:
        root: Folder that `paths` are relative to.
        paths: Paths of the images.
        node: Id of the node that listed them.

    Raises:
        UserError: That node can access some of them, so the disks differ.
    """
    missing = [] if is_object(root) else unreachable([root / path for path in paths])
    if missing and _reachable_from(node, missing):
        raise UserError(not_shared_message(root))


def _reachable_from(node: str, paths: list[Path]) -> bool:
    """Return whether `node` can access any of `paths` and this node cannot, even after `SYNC_S`."""
    import ray

    if node == ray.get_runtime_context().get_node_id():
        return False
    try:
        missing = ray.get(_check_on(node, paths), timeout=NODE_ANSWER_TIMEOUT_S)
    except ray.exceptions.RayError:  # then the job is about to end
        return False
    reachable = [path for path in paths if path not in missing]
    if reachable:
        time.sleep(SYNC_S)
    return bool(unreachable(reachable))


def _check_on(node: str, paths: list[Path]) -> Any:
    """Reference to the result of `unreachable` on `node`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0)(unreachable)
    return task.options(scheduling_strategy=strategy).remote(paths)


def not_shared_message(folder: Path) -> str:
    """Message for a folder that is not the same on all nodes of the cluster."""
    return (
        f"{folder} is missing or differs on a node of the cluster. Use a folder on storage that "
        "all nodes mount at the same path (NFS, EFS, a ReadWriteMany volume)."
    )


def _start(execution: Execution) -> None:
    import ray

    address = os.environ.get("RAY_ADDRESS")
    common = {"logging_level": logging.ERROR, "log_to_driver": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        if address:
            ray.init(runtime_env=_runtime_env(), **common)
        else:
            ray.init(
                address="local",
                num_cpus=execution.workers,
                include_dashboard=False,
                object_store_memory=LOCAL_OBJECT_STORE_BYTES,
                **common,
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as problem:
        if address:
            raise UserError(join_error_message(address, str(problem))) from problem
        raise UserError(
            f"Cannot start Ray on this machine: {problem}\nRun `fer-ray doctor` to diagnose it."
        ) from problem


def _runtime_env() -> dict[str, Any] | None:
    """Environment variables for workers on other machines.

    Workers of a submitted job have its environment already, and Ray refuses to set a variable
    twice.
    """
    submitted = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    present = (submitted.get("runtime_env") or {}).get("env_vars", {})
    variables = {
        name: os.environ[name] for name in FORWARDED if name in os.environ and name not in present
    }
    return {"env_vars": variables} if variables else None


def _configure_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False  # fer_ray shows its own
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = WAIT_S
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # fer_ray reports what is raised
