"""Watch over the head of a joined cluster.

Ray ends a process that has lost the head for 60 s, from C++ code and with a message about its own
parts. This module does so a little earlier, with a message that says how to continue.
"""

import os
import sys
import threading
import time
from collections.abc import Callable

from fer_ray.execution.cluster.cluster_address import try_connection
from fer_ray.vocabulary import ExitCode

LOST_S = 45.0  # without an answer, until the head is considered lost
CHECK_S = 5.0  # between two checks
LEAST_CHECKS = 3  # without an answer; this process may have been suspended


def watch_head(
    address: str, is_joined: Callable[[], bool], lost_s: float = LOST_S, check_s: float = CHECK_S
) -> None:
    """Start a thread that ends this process with `ExitCode.USER_ERROR` once the head is lost.

    The process ends at once, as Ray would end it: calls to Ray that wait for the head cannot be
    interrupted.

    Args:
        address: `HOST:PORT` of the head.
        is_joined: Whether this process still uses that cluster. The thread ends if not.
        lost_s: Seconds without an answer.
        check_s: Seconds between two checks.
    """
    watch = threading.Thread(
        target=_watch, args=(address, is_joined, lost_s, check_s), daemon=True, name="head watch"
    )
    watch.start()


def _watch(address: str, is_joined: Callable[[], bool], lost_s: float, check_s: float) -> None:
    answered, failures = time.monotonic(), 0
    while True:
        time.sleep(check_s)
        if not is_joined():
            return
        if _answers(address):
            answered, failures = time.monotonic(), 0
            continue
        failures += 1
        if failures >= LEAST_CHECKS and time.monotonic() - answered >= lost_s and is_joined():
            _end(address, lost_s)


def _answers(address: str) -> bool:
    try:
        try_connection(address)
    except OSError:
        return False
    return True


def _end(address: str, lost_s: float) -> None:
    sys.stderr.write(
        f"fer-ray: The head of the cluster, {address}, has not answered for {lost_s:g} s. Finished "
        "work is stored: start the head and the other nodes again, then rerun the same command to "
        "resume.\n"
    )
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(ExitCode.USER_ERROR)
