"""The end of a driver whose head is lost."""

import socket
import subprocess
import sys

import pytest

from fer_ray.execution.cluster.head_watch import LEAST_CHECKS
from fer_ray.vocabulary import ExitCode
from tests.patience import patience

WATCH = """
import sys, time
from fer_ray.execution.cluster.head_watch import watch_head
watch_head(sys.argv[1], lambda: sys.argv[2] == "joined", lost_s=0.5, check_s=0.1)
print("watching", flush=True)
time.sleep(float(sys.argv[3]))
"""


def start_driver(head: socket.socket, state: str, seconds: float) -> "subprocess.Popen[str]":
    host, port = head.getsockname()
    driver = subprocess.Popen(
        [sys.executable, "-c", WATCH, f"{host}:{port}", state, str(seconds)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert driver.stdout is not None
    assert driver.stdout.readline() == "watching\n"
    return driver


def test_lost_head_ends_the_driver_with_a_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        driver = start_driver(head, "joined", 600)
        for _ in range(LEAST_CHECKS):
            head.accept()[0].close()
        assert driver.poll() is None
    _, message = driver.communicate(timeout=patience(30))
    assert driver.returncode == ExitCode.USER_ERROR
    assert "has not answered for 0.5 s. Finished work is stored" in message


@pytest.mark.parametrize(("state", "answers"), [("joined", True), ("left", False)])
def test_other_drivers_end_as_usual(state: str, answers: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        driver = start_driver(head, state, 1.5)
        if not answers:
            head.close()
        assert driver.wait(patience(30)) == 0
