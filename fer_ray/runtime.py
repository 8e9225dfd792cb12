"""Starting Ray, and every setting of its own that a job relies on."""

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from fer_ray.config import Execution
from fer_ray.errors import UserError

# Holds the blocks in flight many times over: images never enter the object store.
LOCAL_OBJECT_STORE_BYTES = 268_435_456
NO_PROGRESS_TIMEOUT_S = 600  # a job that stands still this long ends with an error
SIGTERM_EXIT_CODE = 143

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
        The number of tasks to run at a time.

    Raises:
        UserError: Ray cannot be started or reached.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if not ray.is_initialized():
        _start(execution)
        _configure_data()
        signal.signal(signal.SIGTERM, _terminate)  # Ray sets its own on start
    processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
    return min(processors, execution.workers or processors)


@contextlib.contextmanager
def ray_closed_after() -> Iterator[None]:
    """Shut Ray down at the end, if anything in between started it."""
    try:
        yield
    finally:
        import sys

        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


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
        where = f"the cluster at {address}" if address else "Ray on this machine"
        raise UserError(
            f"Cannot start {where}: {problem}\n`fer-ray doctor` looks into it."
        ) from problem
    _tighten_token()


def _tighten_token() -> None:
    """Make Ray's token readable by its owner only: Ray writes it for all to read."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    with contextlib.suppress(OSError):
        token.chmod(0o600)


def _configure_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False  # one bar, ours
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_TIMEOUT_S
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(SIGTERM_EXIT_CODE)
