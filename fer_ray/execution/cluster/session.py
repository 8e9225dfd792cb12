"""Start of Ray on this machine, or connection to a cluster, and the end of both."""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from fer_ray.errors import UserError
from fer_ray.execution.cluster.authentication import join_error_message, prepare_token
from fer_ray.execution.cluster.cluster_address import locate_cluster, require_open_port
from fer_ray.execution.cluster.head_watch import watch_head
from fer_ray.execution.cluster.local_session import (
    START_LIMITS,
    longer_start_limit,
    own_session_folder,
    remove_session,
    start_error_message,
)
from fer_ray.execution.cluster.resources import CPU, LEAST_SHARE, cluster_total, wait_for
from fer_ray.execution.progress import step
from fer_ray.execution.signals import (
    defer_signals,
    on_main_thread,
    ray_handlers_disabled,
    terminate,
)
from fer_ray.process_environment import environment_fixed, variables_restored
from fer_ray.settings.root import Execution

# Many times the blocks in flight: images never enter the object store.
LOCAL_OBJECT_STORE_BYTES = 268_435_456

RAY_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # trials stay in the job's working folder
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would treat an interrupt as a normal end
    # A task on a host whose link fails is repeated within two minutes; by default within seven.
    # Ray's servers close a connection that receives pings more often than every 60 s.
    "RAY_grpc_client_keepalive_time_ms": "75000",
    "RAY_grpc_client_keepalive_timeout_ms": "45000",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results are stored as Parquet
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    **START_LIMITS,
}

LOGGERS = ("ray", "ray.data", "ray.tune")

# Variables that Ray reads, and those that Ray itself sets. A program of the user keeps its own.
OF_RAY = ("RAY_", "TUNE_", "PYTHONBREAKPOINT")

QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}

# Variables that a cluster's workers receive: no credentials, which the dashboard would show.
OBJECT_STORE = (
    *("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ALLOW_HTTP"),
    "AZURE_STORAGE_ACCOUNT_NAME",
)
FORWARDED = ("KERAS_BACKEND", *OBJECT_STORE)

logger = logging.getLogger(__name__)


def start_ray(execution: Execution) -> None:
    """Start Ray on this machine, or join the cluster at RAY_ADDRESS. No effect if Ray is running.

    Raises:
        UserError: Ray cannot be started, or the cluster cannot be joined.
    """
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if is_ray_running():
        return
    with step("start Ray"):
        if address := os.environ.get("RAY_ADDRESS"):
            require_open_port(locate_cluster(address))
            prepare_token()
            _join(address)
        else:
            prepare_token()
            with environment_fixed(), longer_start_limit(), defer_signals():
                _start(execution)
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
    """Shut Ray down at the end of the block if it was started there, and remove its session folder.

    After any failure except a user error, the session folder stays, since it contains Ray's logs.
    The variables of Ray that jobs set are restored.
    """
    with variables_restored(*OF_RAY), _log_levels_restored(), _ray_shut_down_after():
        yield


@contextlib.contextmanager
def _log_levels_restored() -> Iterator[None]:
    """Restore the levels of Ray's loggers, which jobs change."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _ray_shut_down_after() -> Iterator[None]:
    if is_ray_running():
        yield
        return
    failed = True
    try:
        yield
        failed = False
    except (UserError, KeyboardInterrupt, SystemExit):
        failed = False
        raise
    finally:
        if "ray" in sys.modules:
            session = own_session_folder()
            sys.modules["ray"].shutdown()
            if session and not failed:
                remove_session(session)


def is_ray_running() -> bool:
    """Return whether this process has started Ray or joined a cluster."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def starts_locally() -> bool:
    """Return whether `start_ray` would start Ray on this machine, which takes seconds."""
    return not (is_ray_running() or os.environ.get("RAY_ADDRESS"))


def has_several_nodes() -> bool:
    """Return whether Ray is running on more than one node."""
    if not is_ray_running():
        return False
    return [node["Alive"] for node in sys.modules["ray"].nodes()].count(True) > 1


def _join(address: str) -> None:
    """Join a cluster. SIGTERM and SIGINT end the attempt: it starts no process on this machine."""
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with ray_handlers_disabled():
            ray.init(runtime_env=_runtime_env(), **QUIET)
    except (ConnectionError, RuntimeError, ValueError, OSError) as problem:
        raise UserError(join_error_message(address, str(problem))) from problem
    head = ray.get_runtime_context().gcs_address
    watch_head(head, lambda: is_ray_running() and ray.get_runtime_context().gcs_address == head)


def _start(execution: Execution) -> None:
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(
            address="local",
            num_cpus=execution.workers,
            include_dashboard=False,
            object_store_memory=LOCAL_OBJECT_STORE_BYTES,
            **QUIET,
        )
    except Exception as problem:  # Ray raises plain exceptions on a busy machine
        raise UserError(start_error_message(problem)) from problem


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
