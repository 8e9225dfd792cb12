"""The slow and lossy cables of hosts."""

import json
import subprocess
import sys

import pytest

from tests.cluster.hosts import Host, add_host, missing_for_hosts, open_network

pytestmark = pytest.mark.skipif(missing_for_hosts() is not None, reason=str(missing_for_hosts()))

ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 7000))
print("bound", flush=True)
while True:
    server.sendto(*server.recvfrom(100))
"""
# Prints the shortest round trip in seconds, and the number of replies to 100 datagrams.
SEND = """
import json, socket, sys, time
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(1)
trips = []
client.sendto(b"x", (sys.argv[1], 7000))  # resolves the address
for number in range(100):
    client.sendto(str(number).encode(), (sys.argv[1], 7000))
    sent = time.monotonic()
    client.settimeout(0.2)
    try:
        while client.recv(100) != str(number).encode():
            continue
        trips.append(time.monotonic() - sent)
    except TimeoutError:
        continue
    if number == int(sys.argv[2]):
        break
print(json.dumps([min(trips), len(trips)]))
"""


def exchange(client: Host, server: Host, last: int) -> tuple[float, int]:
    echo = subprocess.Popen(
        [*server.wrap, sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True
    )
    assert echo.stdout is not None
    assert echo.stdout.readline() == "bound\n"
    done = client.run(sys.executable, "-c", SEND, server.address, str(last))
    echo.kill()
    shortest, replies = json.loads(done.stdout)
    return shortest, replies


def test_cables_delay_and_lose_frames() -> None:
    with open_network() as stack:
        plain = add_host(stack, 1)
        slow = add_host(stack, 2, (0.04, 0.0))
        lossy = add_host(stack, 3, (0.0, 0.1))
        assert exchange(plain, slow, last=5)[0] >= 0.08
        _, replies = exchange(plain, lossy, last=100)
        assert 50 <= replies <= 97  # 81 are expected
