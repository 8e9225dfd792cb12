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
        seconds: When processing of the image began, on the clock of `time.monotonic`, which all
            processes share. The time limit counts from then.
        image: Number of the image in its batch; None if the stage processes all of them.
        stage: The stage; "" before the first.
    """

    seconds: float
    image: int | None
    stage: str


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
        seconds = before.seconds if before and before.image == image else time.monotonic()
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

    def start(self) -> None:
        """Drop the events of earlier batches: a batch begins now."""
        self.latest()
        self._latest = StageEvent(time.monotonic(), None, "")

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
