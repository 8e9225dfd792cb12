"""A slow or lossy cable to a host: a process that copies frames between two TAP devices.

It replaces `tc netem`, which not every kernel has.

python -m tests.cluster.cable NAMESPACE DELAY_S LOSS
"""

import fcntl
import os
import random
import selectors
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
MAX_FRAME = 65_536


def _open_tap(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


class Direction:
    """Frames on their way from one device to another."""

    def __init__(self, source: int, target: int, delay_s: float, loss: float) -> None:
        self._source, self._target, self._delay_s, self._loss = source, target, delay_s, loss
        self._frames: deque[tuple[float, bytes]] = deque()

    def receive(self) -> None:
        """Take the frames that have arrived, and lose some."""
        try:
            while frame := os.read(self._source, MAX_FRAME):
                if random.random() >= self._loss:
                    self._frames.append((time.monotonic() + self._delay_s, frame))
        except BlockingIOError:
            return

    def deliver(self) -> float | None:
        """Deliver the frames that are due; the time until the next one."""
        while self._frames:
            wait = self._frames[0][0] - time.monotonic()
            if wait > 0:
                return wait
            _, frame = self._frames.popleft()
            try:
                os.write(self._target, frame)
            except OSError:
                continue  # the link is down, or its queue is full: the frame is lost
        return None


def main(namespace: str, delay_s: float, loss: float) -> None:
    """Connect device `eth0` of a namespace to a device of the namespace's name."""
    far = _open_tap("fer-cable")
    subprocess.run(
        ["ip", "link", "set", "fer-cable", "netns", namespace, "name", "eth0"], check=True
    )
    near = _open_tap(namespace)
    directions = [Direction(near, far, delay_s, loss), Direction(far, near, delay_s, loss)]
    selector = selectors.DefaultSelector()
    for source, direction in zip((near, far), directions, strict=True):
        selector.register(source, selectors.EVENT_READ, direction)
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    while True:
        waits = [wait for direction in directions if (wait := direction.deliver()) is not None]
        for key, _ in selector.select(min(waits, default=None)):
            key.data.receive()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
