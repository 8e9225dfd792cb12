"""Starting Ray or joining a cluster, and every setting of its own that a job relies on."""

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
from fer_ray.execution.authentication import cannot_join, prepare_token
from fer_ray.execution.resources import CPU, LEAST_SHARE, WAIT_S, there, wait_for
from fer_ray.execution.signals import answered_later, on_main_thread, terminate
from fer_ray.settings.root import Execution
from fer_ray.storage.files import unreachable

# Holds the blocks in flight many times over: images never enter the object store.
LOCAL_OBJECT_STORE_BYTES = 268_435_456
NODE_ANSWER_TIMEOUT_S = 120  # a node that joined starts its first worker within seconds
NOTICE_S = 3  # within which a file that was made or removed elsewhere shows (NFS: actimeo=1)

QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # trials stay in the job's working folder
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results are kept as Parquet
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

SENT = ("KERAS_BACKEND",)  # from this process's environment to that of a cluster's workers

logger = logging.getLogger(__name__)


def start_ray(execution: Execution) -> None:
    """Start Ray unless it runs: on the cluster that RAY_ADDRESS names, else on this machine.

    Raises:
        UserError: It cannot be started or reached.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    prepare_token()
    import ray

    if not ray.is_initialized():
        with answered_later():
            _start(execution)
        _configure_data()
        if on_main_thread():
            signal.signal(signal.SIGTERM, terminate)


def ensure_ray(execution: Execution) -> int:
    """`start_ray`, then `workers_there`."""
    start_ray(execution)
    return workers_there(execution)


def workers_there(execution: Execution) -> int:
    """The number of tasks at a time that the cluster, as it is now, has processors for.

    Waits for its first one.

    Raises:
        UserError: None comes.
    """
    if not there(CPU):
        wait_for(CPU, LEAST_SHARE)
    processors = max(1, int(there(CPU)))
    return min(processors, execution.workers or processors)


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

    missing: list[Path] = []
    for answer in [_ask(node, paths) for node in nodes]:
        try:
            missing += ray.get(answer, timeout=NODE_ANSWER_TIMEOUT_S)
        except ray.exceptions.RayError as problem:
            logger.warning("A node does not say whether it sees the storage: %s", problem)
    return missing


def several_nodes() -> bool:
    """Whether the cluster has more than this node."""
    import ray

    return [node["Alive"] for node in ray.nodes()].count(True) > 1


def require_reachable(*folders: Path) -> None:
    """See that this node sees some folders.

    Raises:
        UserError: It does not.
    """
    for folder in unreachable([*folders]):
        raise UserError(not_shared(folder))


def require_same(root: Path, paths: list[str], node: str) -> None:
    """See that images that this task's node could not read are gone, and not only hidden from it.

    Args:
        root: Folder that `paths` are relative to.
        paths: Of the images.
        node: Id of the one that has listed them.

    Raises:
        UserError: That node sees some of them: the disks are not the same.
    """
    missing = unreachable([root / path for path in paths])
    if missing and _seen_from(node, missing):
        raise UserError(not_shared(root))


def _seen_from(node: str, paths: list[Path]) -> bool:
    """Whether `node` sees any of `paths`; this one may only have been slow to see what is new."""
    import ray

    if node == ray.get_runtime_context().get_node_id():
        return False
    try:
        hidden = ray.get(_ask(node, paths), timeout=NODE_ANSWER_TIMEOUT_S)
    except ray.exceptions.RayError:  # then the job is about to end
        return False
    seen = [path for path in paths if path not in hidden]
    if seen:
        time.sleep(NOTICE_S)
    return bool(unreachable(seen))


def _ask(node: str, paths: list[Path]) -> Any:
    """What `unreachable` answers on `node`, to be."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    look = ray.remote(num_cpus=0)(unreachable)
    return look.options(scheduling_strategy=On(node, soft=False)).remote(paths)


def not_shared(folder: Path) -> str:
    """What to tell a user whose cluster does not see `folder` everywhere."""
    return (
        f"{folder} is not there on every node of the cluster, or not the same. Give a folder of "
        "storage that all nodes mount at the same place (NFS, EFS, a ReadWriteMany volume)."
    )


def _start(execution: Execution) -> None:
    import ray

    address = os.environ.get("RAY_ADDRESS")
    common = {"logging_level": logging.ERROR, "log_to_driver": False}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        if address:
            ray.init(runtime_env=_sent_along(), **common)
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
            raise UserError(cannot_join(address, str(problem))) from problem
        raise UserError(
            f"Cannot start Ray on this machine: {problem}\n`fer-ray doctor` looks into it."
        ) from problem


def _sent_along() -> dict[str, Any] | None:
    """Of this process's environment, what workers on other machines are to have as well.

    Those of a submitted job have its environment already, and Ray refuses to set it twice.
    """
    submitted = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    theirs = (submitted.get("runtime_env") or {}).get("env_vars", {})
    sent = {name: os.environ[name] for name in SENT if name in os.environ and name not in theirs}
    return {"env_vars": sent} if sent else None


def _configure_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False  # one bar, ours
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = WAIT_S
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is raised is told here
