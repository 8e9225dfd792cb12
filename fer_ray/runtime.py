"""Starting Ray or joining a cluster, and every setting of its own that a job relies on."""

import contextlib
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from fer_ray.config import Execution
from fer_ray.data.holding import unreachable
from fer_ray.errors import ExitCode, UserError

# Holds the blocks in flight many times over: images never enter the object store.
LOCAL_OBJECT_STORE_BYTES = 268_435_456
NO_PROGRESS_TIMEOUT_S = 600  # a job that stands still this long ends with an error
NODE_ANSWER_TIMEOUT_S = 120  # a node that joined starts its first worker within seconds
SETTLED_S = 5  # after which processors that were given back count as free
LEAST_SHARE = 0.25  # of a processor that a task may be given, where a whole one is nowhere free

QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # trials stay in the job's working folder
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results are kept as Parquet
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

logger = logging.getLogger(__name__)


def ensure_ray(execution: Execution) -> int:
    """Start Ray unless it runs: on the cluster that RAY_ADDRESS names, else on this machine.

    Returns:
        The number of tasks at a time that the cluster, as it is now, has processors for.

    Raises:
        UserError: Ray cannot be started or reached.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    prepare_token()
    import ray

    if not ray.is_initialized():
        _start(execution)
        _configure_data()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminate)  # Ray sets its own on start
    processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
    return min(processors, execution.workers or processors)


def processor_share() -> float:
    """Processors to ask for per task: one, or what is left where the cluster has less than one.

    A job that itself holds half a processor (`--entrypoint-num-cpus 0.5`) of a cluster of one would
    wait for a whole one for ever. What the last step's workers held may be counted as theirs for a
    moment longer.
    """
    import ray

    there = float(ray.cluster_resources().get("CPU", 0))
    free, end = 0.0, time.monotonic() + SETTLED_S
    while free < LEAST_SHARE and time.monotonic() < end:
        free = float(ray.available_resources().get("CPU", 0))
        if not 0 < there < 2:  # none yet, or a whole one to be had
            break
        time.sleep(0.1)
    return free if LEAST_SHARE <= free < 1 else 1.0


def gpu_workers(gpus_per_worker: float, asked: int | None) -> int:
    """How many workers the cluster has GPUs for.

    Raises:
        UserError: For none.
    """
    import ray

    there = float(ray.cluster_resources().get("GPU", 0))
    workers = int(there / gpus_per_worker + 1e-9)
    if not workers:
        raise UserError(
            f"--gpus-per-worker {gpus_per_worker}: the cluster has {there:g} GPUs. Leave it out to "
            "compute on processors."
        )
    return min(workers, asked or workers)


@contextlib.contextmanager
def ray_closed_after() -> Iterator[None]:
    """Shut Ray down at the end, if anything in between started it."""
    try:
        yield
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


def require_shared(out: Path, *sources: Path) -> None:
    """Make sure that every node of the cluster sees the same folders; one node always does.

    Nodes that join later look for themselves (`pipeline`).

    Args:
        out: Run folder, which exists.
        sources: Folders that are only read.

    Raises:
        UserError: A node does not see one of them.
    """
    import ray

    if gone := unreachable(list(sources)):
        raise UserError(not_shared(gone[0]))
    here = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    if not others:
        return
    with tempfile.NamedTemporaryFile(dir=out, prefix=".seen-by-all-") as marker:
        missing = _unreachable_from(others, [Path(marker.name), *sources])
    if missing:
        raise UserError(not_shared(out if Path(marker.name) in missing else missing[0]))


def _unreachable_from(nodes: list[str], paths: list[Path]) -> list[Path]:
    """Those of `paths` that one of `nodes` does not see; a node that is lost meanwhile sees all."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    look = ray.remote(num_cpus=0)(unreachable)
    answers = [look.options(scheduling_strategy=On(node, soft=False)).remote(paths)
               for node in nodes]  # fmt: skip
    missing: list[Path] = []
    for answer in answers:
        try:
            missing += ray.get(answer, timeout=NODE_ANSWER_TIMEOUT_S)
        except ray.exceptions.RayError as problem:
            logger.warning("A node does not say whether it sees the storage: %s", problem)
    return missing


def not_shared(folder: Path) -> str:
    """What to tell a user whose cluster does not see `folder` everywhere."""
    return (
        f"{folder} is not there on every node of the cluster. Give a folder of storage that all "
        "nodes mount at the same place (NFS, EFS, a ReadWriteMany volume)."
    )


def _start(execution: Execution) -> None:
    import ray

    address = os.environ.get("RAY_ADDRESS")
    common = {"logging_level": logging.ERROR, "log_to_driver": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        if address:
            ray.init(**common)
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
            raise UserError(
                f"Cannot join the cluster at {address}: {problem}.\nIs it running, and is "
                "RAY_AUTH_TOKEN_PATH (by default ~/.ray/auth_token) a file with its token?"
            ) from problem
        raise UserError(
            f"Cannot start Ray on this machine: {problem}\n`fer-ray doctor` looks into it."
        ) from problem


def prepare_token() -> None:
    """See that Ray asks for a token, and that nobody but its owner can read its file.

    A cluster of this machine's own gets a token by default; Ray would write it for all to read.
    A client of a cluster sends a token only if it is told to.

    Raises:
        UserError: RAY_AUTH_TOKEN_PATH names a file that is not there: Ray would abort.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE") == "disabled":
        pass
    elif named and not file.is_file():
        raise UserError(f"RAY_AUTH_TOKEN_PATH names {named}, which is not there.")
    elif not os.environ.get("RAY_ADDRESS"):
        _make_token(file)
    if os.environ.get("RAY_ADDRESS") and (os.environ.get("RAY_AUTH_TOKEN") or file.is_file()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    with contextlib.suppress(OSError):
        file.chmod(0o600)


def _make_token(file: Path) -> None:
    """Write a new token for its owner alone, unless there is one."""
    with contextlib.suppress(OSError):  # then Ray says what is wrong with its own
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as opened:
            opened.write(secrets.token_hex(32))


def _configure_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False  # one bar, ours
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_TIMEOUT_S
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(ExitCode.TERMINATED)
