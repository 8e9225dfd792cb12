"""SIGTERM in programs that run jobs through the Python API."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from fer_ray.errors import StoppedError
from fer_ray.execution.signals import handle_sigterm, sigterm_delivered_after, terminate

STOPPED_JOB = """
import signal
from fer_ray.execution.signals import sigterm_delivered_after, terminate
try:
    with sigterm_delivered_after():
        signal.signal(signal.SIGTERM, terminate)  # as a job that has started Ray
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            print("cleaned up", flush=True)
except BaseException:
    print("survived", flush=True)
"""


def run_job(work: Callable[[], object]) -> None:
    """Run a job that changes the handler, as one that has started Ray."""
    with sigterm_delivered_after():
        signal.signal(signal.SIGTERM, terminate)
        work()


def test_sigterm_ends_a_program_after_the_job_has_stopped() -> None:
    command = [sys.executable, "-c", STOPPED_JOB]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGTERM
    assert done.stdout == "cleaned up\n"


def test_handler_of_the_program_runs_after_the_job_has_stopped() -> None:
    received: list[int] = []
    with handle_sigterm(lambda number, _: received.append(number)):
        own = signal.getsignal(signal.SIGTERM)
        with pytest.raises(StoppedError, match="call the same function again"):
            run_job(lambda: signal.raise_signal(signal.SIGTERM))
        assert received == [signal.SIGTERM]
        with pytest.raises(ValueError, match="invalid literal"):
            run_job(lambda: int("x"))
        assert signal.getsignal(signal.SIGTERM) is own
        assert received == [signal.SIGTERM]
