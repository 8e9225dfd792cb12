"""Ray on this machine: how long its processes may take to start, and the folder of its session."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

START_S = 180  # of each process; a busy machine takes minutes
START_LIMITS = {
    "RAY_gcs_server_port_wait_time_s": str(START_S),
    "RAY_worker_register_timeout_seconds": str(START_S),
    "RAY_agent_register_timeout_ms": str(1000 * START_S),
}
POLL_S = 0.5


@contextmanager
def longer_start_limit() -> Iterator[None]:
    """Let Ray wait up to `START_S` for its raylet inside the block, while the raylet is running.

    Ray's own limit of 30 s is a constant.
    """
    from ray._private import services

    get_node, started = services.get_node, time.monotonic()

    def wait_for_node(*arguments: Any) -> Any:
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() - started > START_S or not _is_raylet_running():
                    raise
                time.sleep(POLL_S)

    services.get_node = wait_for_node
    try:
        yield
    finally:
        services.get_node = get_node


def start_error_message(problem: Exception) -> str:
    """Message for an error of Ray's start on this machine."""
    text = str(problem) or type(problem).__name__
    if "AF_UNIX" in text:
        advice = (
            "The path of the temporary folder is too long for Ray's sockets. Set RAY_TMPDIR to a "
            "folder with a short path, such as /tmp."
        )
    elif isinstance(problem, PermissionError):
        advice = "Set RAY_TMPDIR to a writable folder with a short path."
    elif isinstance(problem, (ConnectionError, RuntimeError, ValueError, OSError)):
        advice = "Run `fer-ray doctor` to diagnose it."
    else:
        advice = (
            "The machine may be busy or short of memory. Try again later, close other programs, or "
            "run without Ray: --set execution.executor=in-process."
        )
    return f"Cannot start Ray on this machine: {text}\n{advice}"


def own_session_folder() -> Path | None:
    """The session folder of the Ray that this process has started; None if it has joined one."""
    from ray._private import worker

    node = worker._global_node
    return Path(node.get_session_dir_path()) if node is not None and node.head else None


def remove_session(folder: Path) -> None:
    """Remove a session folder after Ray has been shut down, and the link to it."""
    shutil.rmtree(folder, ignore_errors=True)
    latest = folder.with_name("session_latest")
    with suppress(OSError):
        if latest.readlink() == folder:
            latest.unlink()


def _is_raylet_running() -> bool:
    """Return whether a child of this process is a raylet; False if that is unknown."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, fields = file.read_text(errors="replace").partition("(")[2].rpartition(")")
            state, parent = fields.split()[:2]
            if name == "raylet" and int(parent) == os.getpid():
                return state not in "ZX"
    return False
