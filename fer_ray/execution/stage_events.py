"""How a child process reports which image and which stage it has reached.

An event is a few bytes in a separate pipe, which the parent reads only if it needs them: once the
child has died, or when the time limit may have passed. The parent is thus not woken for each stage.
The events of a batch, a few per image, must fit in the pipe (16 KiB or more).
"""

import os
import struct
import time
from typing import NamedTuple

from fer_ray.vocabulary import Stage

EVENT = struct.Struct("<dib")  # seconds, number of the image or NO_IMAGE, number of the stage
NO_IMAGE = -1
STAGES = tuple(Stage)


class StageEvent(NamedTuple):
    """A stage that began.

    Attributes:
        seconds: When processing of the image began, on the child's `running_clock`. The time limit
            counts from then.
        image: Number of the image in its batch; None if the stage processes all of them.
        stage: The stage; "" before the first.
    """

    seconds: float
    image: int | None
    stage: str


def running_clock(pid: int | None = None) -> float:
    """Seconds on a clock that stands still while a process waits for a CPU.

    On a busy machine, a process may run for a small share of the time only. The main thread of the
    process counts. Where the kernel does not report its waiting time, the clock never stands still.

    Args:
        pid: The process. None: this one.
    """
    try:
        with open(f"/proc/{pid or 'self'}/schedstat", "rb") as file:  # noqa: PTH123
            waited = int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        waited = 0.0
    return time.monotonic() - waited


class StageWriter:
    """The child's end, for one batch.

    Args:
        fd: File descriptor of the pipe.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._latest: StageEvent | None = None

    def __call__(self, image: int | None, stage: Stage) -> None:
        """Report that a stage begins, unless it has begun already: an image may have many faces."""
        before = self._latest
        if before and (image, stage) == (before.image, before.stage):
            return
        seconds = before.seconds if before and before.image == image else running_clock()
        self._latest = StageEvent(seconds, image, stage)
        number = NO_IMAGE if image is None else image
        os.write(self._fd, EVENT.pack(seconds, number, STAGES.index(stage)))


class StageReader:
    """The parent's end.

    Attributes:
        fd: File descriptor of the pipe's other end, for the child.
    """

    def __init__(self) -> None:
        self._fd, self.fd = os.pipe()
        os.set_blocking(self._fd, False)
        self._latest = StageEvent(0.0, None, "")

    def start(self, seconds: float) -> None:
        """Drop the events of earlier batches: a batch begins now.

        Args:
            seconds: Now, on the child's `running_clock`.
        """
        self.latest()
        self._latest = StageEvent(seconds, None, "")

    def latest(self) -> StageEvent:
        """The latest event of the batch."""
        data = b""
        try:
            while part := os.read(self._fd, 1 << 16):
                data += part
        except BlockingIOError:
            pass
        if len(data) >= EVENT.size:
            end = len(data) // EVENT.size * EVENT.size
            seconds, number, stage = EVENT.unpack(data[end - EVENT.size : end])
            self._latest = StageEvent(
                seconds, None if number == NO_IMAGE else number, str(STAGES[stage])
            )
        return self._latest

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._fd)
