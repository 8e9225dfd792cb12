"""How long tests wait on a machine that is busy with other work."""

import os
import time
from collections.abc import Callable

START_LIMIT_S = 180
MOST = 6.0  # longest wait, as a multiple of that on an idle machine


def patience(seconds: float) -> float:
    """`seconds` on an idle machine, and longer in proportion to the load of this one."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * min(MOST, max(1.0, load))


def wait_until(condition: Callable[[], object], seconds: float = 120, every: float = 0.2) -> None:
    """Wait for a condition, for `seconds` on an idle machine and longer on a busy one."""
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        assert waited < patience(seconds), f"not within {waited:.0f} s"
        time.sleep(every)


def raise_start_limits() -> dict[str, str]:
    """Environment in which Ray's processes may take minutes to start, on a busy machine.

    Ray runs workers with a niceness of 15 by default. Beside four busy processes on two
    CPUs, such a worker gets about one percent of a CPU.
    """
    return {
        "RAY_worker_niceness": "0",
        "RAY_raylet_start_wait_time_s": str(START_LIMIT_S),
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": str(START_LIMIT_S),
        "RAY_worker_register_timeout_seconds": str(START_LIMIT_S),
        "RAY_agent_register_timeout_ms": str(1000 * START_LIMIT_S),
    }
